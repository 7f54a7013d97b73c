//! Edits that are longer than a window: the join of the windows, standard output as they are finished, and what is left when the
//! reader or the user ends them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mert_audio::{AudioFile, Damage, Source};
use mert_musicgen::bundle::Bundle;
use mert_musicgen::{ChannelCodec, Codes};
use mert_testkit::runner::{self, Run};
use tempfile::TempDir;

use crate::bundles::Kind;

const RATE: u32 = 32_000;
/// The samples of a frame.
const HOP: usize = 640;
/// The bytes of the header of a streamed WAV file of floats, which hound writes in the extensible form.
const FLOAT_HEADER: usize = 68;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// Sound whose pitch rises and falls, at the rate `rate`.
fn write_recording(path: &str, samples: usize, rate: u32) {
    let spec =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for i in 0..samples {
        let time = i as f64 / f64::from(rate);
        writer.write_sample((12_000.0 * (2_000.0 * time + 300.0 * (3.0 * time).sin()).sin()) as i16).unwrap();
    }
    writer.finalize().unwrap();
}

fn read_floats(path: &str) -> Vec<f32> {
    let mut reader = hound::WavReader::open(path).unwrap();
    assert_eq!((reader.spec().channels, reader.spec().sample_rate), (1, RATE));
    reader.samples().map(Result::unwrap).collect()
}

fn read_codes(path: &str) -> Vec<Vec<u32>> {
    let bytes = std::fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    let frames = file.shape()[1] as usize;
    let codes: Vec<i64> = file.into_vec().unwrap();
    codes.chunks(frames).map(|row| row.iter().map(|&code| code as u32).collect()).collect()
}

fn edit(bundle: &Path, input: &str, options: &[&str]) -> Run {
    let run = runner::run("mert-generate", [&[text(bundle), "--instruct", "Only Drums", input][..], options].concat());
    assert_eq!(run.code, 0, "{options:?}: {}", run.stderr);
    run
}

/// Windows of 25 frames that share at least 10 with the one before: the starts for 62 frames.
const WINDOW: usize = 25;
const STARTS: [usize; 4] = [0, 15, 30, 37];
const WINDOWS: [&str; 4] = ["--window", "0.5", "--overlap", "0.2"];

#[test]
fn windows_are_cross_faded_where_both_have_samples() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let [clip, out, npy] = ["clip.wav", "out.wav", "codes.npy"].map(|name| path(&folder, name));
    // 62 frames, of which the last has one sample.
    let samples = 61 * HOP + 1;
    write_recording(&clip, samples, RATE);
    let codes = |options: &[&str]| {
        let run = edit(
            &bundle,
            &clip,
            &[&["-o", &out, "--force", "--float", "--greedy", "--codes", &npy, "--json"], options].concat(),
        );
        assert!(options.is_empty() || run.stdout.contains("\"windows\": 4"), "{}", run.stdout);
        read_codes(&npy)
    };
    let codes = codes(&WINDOWS);
    let found = read_floats(&out);
    assert_eq!((codes[0].len(), found.len()), (62, samples));

    // The join, in f64: windows in order, each over the last samples of what there is.
    let codec = ChannelCodec::open(&Bundle::open(&bundle).unwrap()).unwrap();
    let mut joined: Vec<f64> = Vec::new();
    let mut largest_step = 0.0f64;
    for start in STARTS {
        let rows = codes.iter().map(|row| row[start..start + WINDOW].to_vec()).collect();
        let window = codec.decode(&Codes::new(rows).unwrap()).unwrap().remove(0);
        let shared = joined.len() - start * HOP;
        for (i, &sample) in window.iter().enumerate() {
            match joined.get_mut(start * HOP + i) {
                Some(old) => {
                    let fade = (i as f64 + 0.5) / shared as f64;
                    largest_step = largest_step.max((f64::from(sample) - *old).abs());
                    *old = *old * (1.0 - fade) + f64::from(sample) * fade;
                }
                None => joined.push(f64::from(sample)),
            }
        }
    }
    let difference = |found: &[f32]| {
        let pairs = found.iter().zip(&joined[..samples]);
        pairs.map(|(found, expected)| (f64::from(*found) - expected).abs()).fold(0.0, f64::max)
    };
    assert!(difference(&found) < 1e-5, "{}", difference(&found));
    // Windows that were put side by side would differ by far more.
    assert!(largest_step > 0.01, "{largest_step}");
}

/// The codec and the model see a window alone, so that a recording of its first window has the same codes.
#[test]
fn the_first_window_is_that_of_a_shorter_recording() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let [long, short, out, npy] = ["long.wav", "short.wav", "out.wav", "codes.npy"].map(|name| path(&folder, name));
    write_recording(&long, 61 * HOP + 1, RATE);
    write_recording(&short, WINDOW * HOP, RATE);
    let codes = |clip: &str| {
        let options = [&["-o", &out, "--force", "--greedy", "--codes", &npy][..], &WINDOWS].concat();
        edit(&bundle, clip, &options);
        read_codes(&npy)
    };
    let (long, short) = (codes(&long), codes(&short));
    for (long, short) in long.iter().zip(&short) {
        assert_eq!(long[..WINDOW], short[..]);
    }
}

#[test]
fn an_edit_is_as_long_as_the_recording_to_the_sample() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--quantize", "--q-bits", "4"]);
    let [clip, out] = ["clip.wav", "out.wav"].map(|name| path(&folder, name));
    // One sample, frames that are and are not full, windows that are and are not full, another rate.
    for (samples, rate, expected) in [
        (1, RATE, 1),
        (HOP, RATE, HOP),
        (HOP + 1, RATE, HOP + 1),
        (WINDOW * HOP - 1, RATE, WINDOW * HOP - 1),
        (WINDOW * HOP, RATE, WINDOW * HOP),
        (WINDOW * HOP + 1, RATE, WINDOW * HOP + 1),
        (40 * HOP, RATE, 40 * HOP),
        (3 * WINDOW * HOP + 77, RATE, 3 * WINDOW * HOP + 77),
        (11_025, 11_025, 32_000),
        (8_000, 48_000, 5_333),
    ] {
        write_recording(&clip, samples, rate);
        edit(&bundle, &clip, &[&["-o", &out, "--force", "--quiet"][..], &WINDOWS].concat());
        let length = hound::WavReader::open(&out).unwrap().duration() as usize;
        assert_eq!(length, expected, "{samples} samples at {rate} Hz");
    }
}

/// The running command, which is killed if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn streaming(bundle: &Path, input: &str, options: &[&str]) -> Running {
    let mut command = Command::new(runner::binary("mert-generate"));
    command.args([text(bundle), "--instruct", "Only Drums", input, "-o", "-"]).args(options);
    Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// The status of a command that must end by itself.
fn ended(running: &mut Running) -> Option<i32> {
    let begun = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            return status.code();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn messages(running: &mut Running) -> String {
    let mut text = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn standard_output_gets_an_edit_window_by_window() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let [clip, out] = ["clip.wav", "out.wav"].map(|name| path(&folder, name));
    write_recording(&clip, 61 * HOP + 1, RATE);
    for form in [&[][..], &["--float"]] {
        let options = [&WINDOWS[..], &["--seed", "5", "--quiet"], form].concat();
        edit(&bundle, &clip, &[&["-o", &out, "--force"], &options[..]].concat());
        let mut running = streaming(&bundle, &clip, &options);
        let mut streamed = Vec::new();
        running.0.stdout.take().unwrap().read_to_end(&mut streamed).unwrap();
        assert_eq!(ended(&mut running), Some(0));
        assert_eq!(messages(&mut running), "");
        let file = std::fs::read(&out).unwrap();
        let data = |bytes: &[u8]| bytes.windows(4).position(|window| window == b"data").unwrap() + 8;
        assert!(streamed[data(&streamed)..] == file[data(&file)..], "{form:?}");
        // The header states the largest length, as FFmpeg's does in a pipe: a reader takes what there is, without damage.
        let saved = folder.path().join("streamed.wav");
        std::fs::write(&saved, &streamed).unwrap();
        let mut file = AudioFile::open(&saved, Damage::Refuse).unwrap();
        let mut length = 0;
        while let Some(block) = file.next_block().unwrap() {
            length += block.len();
        }
        assert_eq!((file.sample_rate(), length), (RATE, 61 * HOP + 1));
    }
}

/// A recording whose edit takes far longer than a test: the windows of what was read must have been written before its end.
fn long_recording(folder: &TempDir) -> String {
    let clip = path(folder, "clip.wav");
    write_recording(&clip, 600 * 8_000, 8_000);
    clip
}

/// Everything in the folder.
fn left(folder: &TempDir) -> Vec<PathBuf> {
    let mut left: Vec<PathBuf> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    left
}

/// Reads the header and two windows' new samples.
fn read_two_windows(running: &mut Running) -> Vec<u8> {
    let mut bytes = vec![0; FLOAT_HEADER + 2 * 15 * HOP * 4];
    running.0.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_reader_that_closes_standard_output_ends_the_edit_quietly() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let clip = long_recording(&folder);
    let npy = path(&folder, "codes.npy");
    let mut running = streaming(&bundle, &clip, &[&WINDOWS[..], &["--float", "--quiet", "--codes", &npy]].concat());
    let bytes = read_two_windows(&mut running);
    assert_eq!((&bytes[..4], &bytes[FLOAT_HEADER - 8..FLOAT_HEADER - 4]), (&b"RIFF"[..], &b"data"[..]));
    drop(running.0.stdout.take());
    assert_eq!(ended(&mut running), Some(0));
    assert_eq!(messages(&mut running), "");
    assert_eq!(left(&folder), [bundle, PathBuf::from(clip)]);
}

#[cfg(unix)]
#[test]
fn interrupted_edits_leave_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let clip = long_recording(&folder);
    let [out, npy] = ["out.wav", "codes.npy"].map(|name| path(&folder, name));
    let interrupt = |running: &Running| {
        assert!(Command::new("kill").args(["-INT", &running.0.id().to_string()]).status().unwrap().success());
    };
    let expected = [bundle.clone(), PathBuf::from(&clip)];

    let mut running = streaming(&bundle, &clip, &[&WINDOWS[..], &["--float", "--codes", &npy]].concat());
    let mut bytes = read_two_windows(&mut running);
    interrupt(&running);
    running.0.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(ended(&mut running), Some(130));
    let said = messages(&mut running);
    assert!(said.ends_with("interrupted: the output ends early\n"), "{said}");
    // What was written are whole windows.
    assert_eq!((bytes.len() - FLOAT_HEADER) % (15 * HOP * 4), 0);
    assert_eq!(left(&folder), expected);

    let mut command = Command::new(runner::binary("mert-generate"));
    command.args([text(&bundle), "--instruct", "Only Drums", &clip, "-o", &out, "--codes", &npy]).args(WINDOWS);
    let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let begun = Instant::now();
    // The temporary file shows that the generation has begun.
    while left(&folder).len() < 3 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupt(&running);
    assert_eq!(ended(&mut running), Some(130));
    let said = messages(&mut running);
    assert!(said.ends_with("interrupted: nothing is written\n"), "{said}");
    assert_eq!(left(&folder), expected);
}
