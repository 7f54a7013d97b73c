//! `mert-generate`: greedy codes equal those of PyTorch, edits are as long as the recording, the same seed gives the same file on
//! any number of threads, and requests that cannot be met are refused before any work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mert_testkit::runner::{self, Run};
use npyz::npz::NpzArchive;
use serde_json::Value;
use tempfile::TempDir;

use crate::bundles::Kind;

/// The rate of the fixtures' codec.
const RATE: u32 = 32_000;

fn generate(arguments: &[&str]) -> Run {
    runner::run("mert-generate", arguments)
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Mono samples as a WAV file of floats.
fn write_wav(path: &str, samples: &[f32], rate: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

fn read_wav(path: &str) -> (hound::WavSpec, Vec<f32>) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    let samples = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().map(Result::unwrap).collect(),
        hound::SampleFormat::Int => {
            reader.samples::<i16>().map(|sample| f32::from(sample.unwrap()) / 32_767.0).collect()
        }
    };
    (spec, samples)
}

/// An array of a reference.
fn array<T: npyz::Deserialize>(reference: &Path, name: &str) -> Vec<T> {
    NpzArchive::open(reference).unwrap().by_name(name).unwrap().unwrap().into_vec().unwrap()
}

fn codes(path: &str) -> (Vec<u64>, Vec<i64>) {
    let bytes = std::fs::read(path).unwrap();
    let file = npyz::NpyFile::new(&bytes[..]).unwrap();
    (file.shape().to_vec(), file.into_vec().unwrap())
}

/// Sound whose pitch rises, at the rate `rate`.
fn sweep(seconds: f64, rate: u32) -> Vec<f32> {
    let count = (seconds * f64::from(rate)).round() as usize;
    let time = |i: usize| i as f64 / f64::from(rate);
    (0..count).map(|i| (0.5 * (900.0 * time(i) * (1.0 + time(i))).sin()) as f32).collect()
}

#[test]
fn greedy_codes_of_an_edit_are_those_of_pytorch() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let reference = Kind::Instruct.reference();
    let samples: Vec<f32> = array(&reference, "input_values");
    let [clip, out, npy] = ["clip.wav", "out.wav", "codes.npy"].map(|name| path(&folder, name));
    write_wav(&clip, &samples, RATE);
    let arguments =
        [text(&bundle), "--instruct", "Only Drums", &clip, "-o", &out, "--greedy", "--codes", &npy, "--json"];
    let run = generate(&arguments);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("text: Music piece. Instruct: Only Drums."), "{}", run.stderr);
    assert_eq!(codes(&npy), (vec![4, 24], array(&reference, "tokens")));
    let (spec, found) = read_wav(&out);
    assert_eq!((spec.channels, spec.sample_rate, found.len()), (1, RATE, samples.len()));
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    // n + 3 calls for n frames.
    assert_eq!((&summary["frames"], &summary["steps"], &summary["windows"]), (&24.into(), &27.into(), &1.into()));
}

#[test]
fn greedy_codes_from_a_text_are_those_of_transformers() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let [out, npy] = ["out.wav", "codes.npy"].map(|name| path(&folder, name));
    let words = "Slow piano over warm strings and a soft drum.";
    let run = generate(&[text(&bundle), "--text", words, "--seconds", "0.48", "-o", &out, "--greedy", "--codes", &npy]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(codes(&npy), (vec![4, 24], array(&Kind::Plain.reference(), "tokens")));
    assert_eq!(read_wav(&out).1.len(), 15_360);
}

#[test]
fn a_beginning_is_continued() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let [begin, out, npy] = ["begin.wav", "out.wav", "codes.npy"].map(|name| path(&folder, name));
    write_wav(&begin, &sweep(0.2, RATE), RATE);
    let with = |seconds: &str| {
        let arguments =
            [text(&bundle), &begin, "--text", "piano", "--seconds", seconds, "-o", &out, "--greedy", "--codes", &npy];
        generate(&[&arguments[..], &["--force"]].concat())
    };
    let run = with("0.6");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (shape, continued) = codes(&npy);
    assert_eq!(shape, [4, 30]);
    let run = with("0.8");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (_, longer) = codes(&npy);
    // The beginning's codes, and what follows them, do not depend on the length.
    for k in 0..4 {
        assert_eq!(continued[k * 30..][..28], longer[k * 40..][..28], "codebook {k}");
    }
    let run = with("0.2");
    assert!(run.code == 2 && run.stderr.contains("the beginning is 0.2 s long"), "{}", run.stderr);
}

#[test]
fn the_same_seed_gives_the_same_file_on_any_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--quantize", "--q-bits", "4"]);
    let clip = path(&folder, "clip.wav");
    write_wav(&clip, &sweep(0.3, RATE), RATE);
    let with = |name: &str, options: &[&str]| {
        let out = path(&folder, name);
        let run =
            generate(&[&[text(&bundle), "--instruct", "No Bass", &clip, "-o", &out, "--float"][..], options].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        std::fs::read(out).unwrap()
    };
    let first = with("1.wav", &["--threads", "1"]);
    for (name, threads) in [("2.wav", "2"), ("3.wav", "3")] {
        assert!(first == with(name, &["--threads", threads]), "{threads} threads");
    }
    assert!(first != with("4.wav", &["--seed", "1"]));
    // One likeliest code is no choice.
    assert!(with("5.wav", &["--top-k", "1"]) == with("6.wav", &["--greedy"]));
    assert!(with("7.wav", &["--top-p", "1e-9"]) == with("8.wav", &["--top-k", "1", "--seed", "9"]));
}

#[test]
fn longer_recordings_are_edited_in_windows() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--dtype", "f32"]);
    // Another rate and a length that is no whole number of frames.
    let [clip, out, npy] = ["clip.wav", "out.wav", "codes.npy"].map(|name| path(&folder, name));
    write_wav(&clip, &sweep(1.234, 44_100), 44_100);
    let options = ["--window", "0.5", "--overlap", "0.1", "--codes", &npy, "--json"];
    let run = generate(&[&[text(&bundle), "--instruct", "Add Piano", &clip, "-o", &out][..], &options].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let samples = read_wav(&out).1;
    // 1.234 s at 32 kHz, and the last frame is not full.
    assert_eq!((samples.len(), codes(&npy).0), (39_488, vec![4, 62]));
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(summary["windows"], 3);
    assert!(summary["rtf"].as_f64().unwrap() > 0.0);
    // 1 s is the most that the fixture has positions for.
    let run = generate(&[text(&bundle), "--instruct", "Add Piano", &clip, "-o", &out, "--window", "3", "--force"]);
    assert!(run.code == 2 && run.stderr.contains("positions for 1 s"), "{}", run.stderr);
}

#[test]
fn standard_output_gets_the_samples_of_the_file() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let out = path(&folder, "out.wav");
    let request = [text(&bundle), "--text", "drums", "--seconds", "0.4", "--window", "0.2", "--overlap", "0.1"];
    let run = generate(&[&request[..], &["-o", &out]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let streamed = Command::new(runner::binary("mert-generate")).args(request).args(["-o", "-"]).output().unwrap();
    let file = std::fs::read(&out).unwrap();
    let data = |bytes: &[u8]| bytes.windows(4).position(|window| window == b"data").unwrap() + 8;
    assert!(streamed.stdout[data(&streamed.stdout)..] == file[data(&file)..]);
}

#[test]
fn an_interrupted_generation_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Plain.bundle(&folder, "bundle", &["--dtype", "f32"]);
    let out = path(&folder, "out.wav");
    let mut child = Command::new(runner::binary("mert-generate"))
        .args([text(&bundle), "--text", "drums", "--seconds", "3000", "-o", &out])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The temporary file shows that the generation has begun.
    let begun = Instant::now();
    while std::fs::read_dir(folder.path()).unwrap().count() < 2 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left: Vec<PathBuf> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [bundle]);
}

#[test]
fn requests_that_cannot_be_met_are_refused() {
    let folder = TempDir::new().unwrap();
    let plain = Kind::Plain.bundle(&folder, "plain", &["--dtype", "f32"]);
    let instruct = Kind::Instruct.bundle(&folder, "instruct", &["--dtype", "f32"]);
    let (plain, instruct) = (text(&plain), text(&instruct));
    let [clip, out, existing] = ["clip.wav", "out.wav", "existing.wav"].map(|name| path(&folder, name));
    write_wav(&clip, &sweep(0.1, RATE), RATE);
    write_wav(&existing, &[0.0], RATE);
    let empty = path(&folder, "empty.wav");
    write_wav(&empty, &[], RATE);
    let long = path(&folder, "long.wav");
    write_wav(&long, &sweep(2.0, RATE), RATE);
    let cut = path(&folder, "cut.wav");
    let whole = std::fs::read(&clip).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&[plain, "--instruct", "Only Drums", &clip, "-o", &out], "plain MusicGen, which does not edit recordings"),
        (&[instruct, "--text", "drums", "-o", &out], "Instruct-MusicGen, which edits recordings"),
        (&[instruct, "--instruct", "Only Drums", "-o", &out], "INPUT"),
        (&[instruct, "--instruct", "Only Drums", &empty, "-o", &out], "no samples"),
        (&[instruct, "--instruct", "Only Drums", &clip, "-o", &clip, "--force"], "is the input"),
        (&[instruct, "--instruct", "Only Drums", &clip, "-o", &existing], "exists"),
        (&[instruct, "--instruct", "Only Drums", &clip, "-o", "out.mp3"], "NAME.wav"),
        (&[plain, "--text", "drums", "-o", "-", "--json"], "--json prints on standard output"),
        (&[plain, "--text", "drums", "--seconds", "0", "-o", &out], "invalid --seconds: a length of 0 s"),
        (&[plain, "--text", "drums", "--seconds", "-1", "-o", &out], "invalid --seconds: a length of -1 s"),
        (&[plain, "--text", "drums", "--seconds", "nan", "-o", &out], "invalid --seconds: a length of NaN s"),
        (&[plain, "--text", "drums", "--temperature", "0", "-o", &out], "invalid temperature 0"),
        (&[plain, "--text", "drums", "--top-p", "1.5", "-o", &out], "invalid top-p 1.5"),
        (&[plain, "--text", "drums", "--greedy", "--seed", "1", "-o", &out], "cannot be used with"),
        (&[plain, "--text", "drums", "--window", "1", "--overlap", "2", "-o", &out], "less to be shared"),
        (
            &[plain, "--text", "drums", "--window", "1", "--overlap", "0.999", "-o", &out],
            "(--overlap), in whole frames",
        ),
        (&[plain, "--text", "drums", "--top-p", "0", "-o", &out], "invalid --top-p 0"),
        (&[plain, "--text", "drums", "--guidance", "1e39", "-o", &out], "expected -10000 to 10000"),
        (&[plain, "--text", "drums", "--threads", "65535", "-o", &out], "65535 is not in 1..=1024"),
        (&[plain, "--text", &"drums ".repeat(9000), "-o", &out], "expected 1 to 4096: shorten it"),
        (&[plain, "--text", " ", "-o", &out], "--text is empty"),
        (&[instruct, "--instruct", "", &clip, "-o", &out], "--instruct is empty"),
        (&[plain, "--text", "drums", "-o", &out, "--codes", &out], "--codes and --output are both"),
        (&[plain, "--text", "drums", "-o", &out, "--codes", &out, "--force"], "--codes and --output are both"),
        (&[plain, "--text", "drums", "-o", &out, "--codes", "-"], "give FILE.npy"),
        (&[plain, "--text", "drums", &long, "--seconds", "3", "--window", "1", "-o", &out], "a longer --window"),
        (&[plain, "--text", "drums", &clip, "--seconds", "0.1", "-o", &out], "give more --seconds"),
        (&[instruct, "--instruct", "Only Drums", &cut, "-o", &out], "cut.wav: truncated"),
        (&["facebook/musicgen-small", "--text", "drums", "-o", &out], "does not exist"),
        (&[plain, "-o", &out], "required"),
        (&[&clip, "--text", "drums", "-o", &out], "clip.wav is a file"),
    ];
    for (arguments, message) in cases {
        let run = generate(arguments);
        assert!(run.code == 2 && run.stderr.contains(message), "{arguments:?}: {} {}", run.code, run.stderr);
        assert!(!Path::new(&out).exists(), "{arguments:?}");
    }
    // Parts of a bundle that are missing are named.
    for (part, option) in [("t5", "--t5"), ("encodec", "--codec")] {
        std::fs::rename(Path::new(plain).join(part), folder.path().join("away")).unwrap();
        let run = generate(&[plain, "--text", "drums", "-o", &out]);
        assert!(run.code == 2 && run.stderr.contains(&format!("no {part}/ folder")), "{}", run.stderr);
        assert!(run.stderr.contains(option), "{}", run.stderr);
        std::fs::rename(folder.path().join("away"), Path::new(plain).join(part)).unwrap();
    }
}

/// What can be decoded of a damaged recording is edited if wanted, and what is missing is said.
#[test]
fn a_truncated_recording_is_edited_as_far_as_it_goes() {
    let folder = TempDir::new().unwrap();
    let instruct = Kind::Instruct.bundle(&folder, "instruct", &["--dtype", "f32"]);
    let [clip, cut, out] = ["clip.wav", "cut.wav", "out.wav"].map(|name| path(&folder, name));
    write_wav(&clip, &sweep(0.2, RATE), RATE);
    let whole = std::fs::read(&clip).unwrap();
    std::fs::write(&cut, &whole[..whole.len() - 4 * 1000]).unwrap();
    let run =
        generate(&[text(&instruct), "--instruct", "Only Drums", &cut, "-o", &out, "--damaged", "keep", "--greedy"]);
    assert!(run.code == 0 && run.stderr.contains("cut.wav: ") && run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(read_wav(&out).1.len(), 6400 - 1000);
}

#[test]
fn a_tensor_that_is_not_finite_is_named() {
    let folder = TempDir::new().unwrap();
    let bundle = Kind::Instruct.bundle(&folder, "bundle", &["--quantize"]);
    let weights = bundle.join("model.safetensors");
    let honest = std::fs::read(&weights).unwrap();
    let (start, header) = safetensors::SafeTensors::read_metadata(&honest).unwrap();
    let clip = path(&folder, "clip.wav");
    write_wav(&clip, &sweep(0.3, RATE), RATE);
    // The bits of an infinity and of a NaN in float16.
    for (tensor, at, bits) in
        [("lm.layers.1.linear1.scales", 3, 0x7c00u16), ("lm.layers.2.self_attn.q_proj.biases", 0, 0x7e01)]
    {
        let mut damaged = honest.clone();
        let first = 8 + start + header.info(tensor).unwrap().data_offsets.0 + 2 * at;
        damaged[first..first + 2].copy_from_slice(&bits.to_le_bytes());
        std::fs::write(&weights, damaged).unwrap();
        let run = generate(&[text(&bundle), "--instruct", "Only Drums", &clip, "-o", &path(&folder, "out.wav")]);
        let message = format!("tensor `{tensor}` has an infinity or NaN at {at}");
        assert!(run.code == 2 && run.stderr.contains(&message), "{}", run.stderr);
    }
}
