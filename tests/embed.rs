//! `mert-embed` on the generated tracks: what PyTorch makes of them, every output, and what goes wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mert_audio::{Damage, Tail, Track, WindowPolicy};
use mert_embed::{Embedder, Encoder, EncoderOptions, Pool};
use mert_runtime::{DeviceKind, Dtype, Model};
use mert_testkit::{fixture, runner};
use npyz::npz::NpzArchive;
use tempfile::TempDir;

#[path = "common/embeddings.rs"]
mod embeddings;

use embeddings::{FORMATS, Rows, model, read, run, track};

fn embedder(model: &Path, layers: &str, pool: Pool, l2: bool) -> Embedder {
    let model = Model::open(model, Dtype::F32, &DeviceKind::Cpu.open().unwrap()).unwrap();
    Embedder::new(model, &layers.parse().unwrap(), pool, l2).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The whole way from a file to pooled hidden states, against soundfile or ffmpeg, soxr, transformers'
/// `Wav2Vec2FeatureExtractor` and its `HubertModel`.
///
/// Without resampling only the order of sums differs: 1e-9 is what the gate calls structure. With it the two resamplers
/// differ in their last few percent below the Nyquist frequency: 3.6e-6 was measured at most, where linear interpolation
/// has 1.2e-5 to 6e-3 and a shift by one sample 1.7e-3.
#[test]
fn every_track_is_embedded_as_in_pytorch() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("out.npz");
    let (status, errors) =
        run(&[&model(&folder), &fixture("audio"), &"-o", &output, &"--layers", &"all", &"--window", &"whole"]);
    assert_eq!(status, 0, "{errors}");

    let rows = read(&output);
    assert_eq!(rows.layers, (0..13).collect::<Vec<_>>());
    let mut reference = NpzArchive::open(fixture("audio/reference.npz")).unwrap();
    let (mut exact, mut resampled) = (0, 0);
    for ((key, (start, end)), values) in rows.keys.iter().zip(&rows.times).zip(&rows.values) {
        let name = Path::new(&key.0).file_name().unwrap().to_str().unwrap();
        let expected = |what: &str| format!("{name}/{what}");
        let samples = reference.by_name(&expected("samples")).unwrap().unwrap().into_vec::<i64>().unwrap()[0];
        assert_eq!((*start, *end), (0.0, samples as f64 / 24_000.0), "{name}");
        let states = reference.by_name(&expected("hidden_states_mean")).unwrap().unwrap().into_vec::<f32>().unwrap();
        let worst = values.chunks(64).zip(states.chunks(64)).map(|(a, b)| 1.0 - cosine(a, b)).fold(0.0, f64::max);
        let as_is = name.contains("24k-");
        (exact, resampled) = (exact + usize::from(as_is), resampled + usize::from(!as_is));
        println!("{name}: 1 - {worst:.1e}");
        assert!(worst <= if as_is { 1e-9 } else { 1e-5 }, "{name}: cosine 1 - {worst:e}");
    }
    assert_eq!((exact, resampled), (7, 27));
}

#[test]
fn every_format_holds_the_same_rows() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let files = [track("f32-24k-mono.wav"), track("16-44k1-stereo.flac")];
    for (layers, pool) in [("6", "mean"), ("0,6,12", "mean+std"), ("5", "none"), ("3-4", "none"), ("all", "max")] {
        let all: Vec<Rows> = FORMATS
            .iter()
            .map(|format| {
                let output = folder.path().join(format!("{layers}-{pool}.{format}"));
                let (status, errors) = run(&[
                    &model,
                    &files[0],
                    &files[1],
                    &"-o",
                    &output,
                    &"--layers",
                    &layers,
                    &"--pool",
                    &pool,
                    &"--window",
                    &"sliding:0.4s/0.1s",
                ]);
                assert_eq!(status, 0, "{errors}");
                read(&output)
            })
            .collect();
        for (mut rows, format) in all.into_iter().zip(FORMATS) {
            // One array alone does not say which hidden states it has.
            rows.layers = if format == "npy" { first_layers(layers) } else { rows.layers };
            assert_eq!(rows.layers, first_layers(layers), "{format}");
            check_rows(&rows, &model, &files, layers, pool, format);
        }
    }
}

fn first_layers(layers: &str) -> Vec<usize> {
    let selection: mert_arch::LayerSelection = layers.parse().unwrap();
    selection.resolve(13).unwrap()
}

/// Against the library's own windows and vectors, one by one.
fn check_rows(rows: &Rows, model: &Path, files: &[PathBuf], layers: &str, pool: &str, format: &str) {
    let embedder = embedder(model, layers, pool.parse().unwrap(), false);
    let mut workspace = embedder.workspace();
    let row = embedder.layers().len() * embedder.dim();
    let mut expected = Rows { layers: embedder.layers().to_vec(), model: rows.model.clone(), ..Rows::default() };
    for file in files {
        let policy: WindowPolicy = "sliding:0.4s/0.1s".parse().unwrap();
        let mut windows =
            Track::open(file, 24_000, Damage::Refuse).unwrap().windows(&policy, Tail::Align, 400).unwrap();
        while let Some(mut window) = windows.next_window().unwrap() {
            let samples = window.samples.len() as u64;
            let embedding = embedder.embed(&mut workspace, &mut window.samples, 24_000).unwrap();
            for (frame, values) in embedding.values.chunks(row).enumerate() {
                let frame = (pool == "none").then_some(frame as u64);
                let start = window.start + frame.unwrap_or(0) * 320;
                let end = start + if frame.is_some() { 400 } else { samples };
                expected.keys.push((file.to_str().unwrap().to_string(), window.index as u64, frame));
                expected.times.push((start as f64 / 24_000.0, end as f64 / 24_000.0));
                expected.values.push(values.to_vec());
            }
        }
    }
    assert!(expected.keys.len() > 8);
    let case = format!("{layers} {pool} {format}");
    assert_eq!((&rows.keys, &rows.layers), (&expected.keys, &expected.layers), "{case}");
    // serde_json reads a number to within its last place.
    let near = |(a, b): (&(f64, f64), &(f64, f64))| (a.0 - b.0).abs() < 1e-12 && (a.1 - b.1).abs() < 1e-12;
    assert!(rows.times.iter().zip(&expected.times).all(near) && rows.times.len() == expected.times.len(), "{case}");
    let differs = rows.values.iter().zip(&expected.values).position(|(found, expected)| found != expected);
    assert_eq!((differs, rows.values.len()), (None, expected.values.len()), "{case}");
    assert_eq!(rows.model.len(), 64);
}

#[test]
fn vectors_have_unit_length_where_asked() {
    let folder = TempDir::new().unwrap();
    let (model, output, plain) = (model(&folder), folder.path().join("l2.npz"), folder.path().join("plain.npz"));
    let file = track("16-24k-stereo.flac");
    assert_eq!(run(&[&model, &file, &"-o", &output, &"--normalize", &"l2", &"--layers", &"0,12"]).0, 0);
    assert_eq!(run(&[&model, &file, &"-o", &plain, &"--layers", &"0,12"]).0, 0);
    for (scaled, plain) in read(&output).values[0].chunks(64).zip(read(&plain).values[0].chunks(64)) {
        let length = plain.iter().map(|x| x * x).sum::<f32>().sqrt();
        let worst = scaled.iter().zip(plain).map(|(a, b)| (a - b / length).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-6, "{worst}");
    }
}

/// The order in which threads finish must not show.
#[test]
fn the_output_does_not_depend_on_the_number_of_threads() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    for format in FORMATS {
        let outputs = ["1", "3", "8"].map(|jobs| {
            let output = folder.path().join(format!("{jobs}.{format}"));
            let window = "sliding:0.4s/0.3s";
            let (status, errors) =
                run(&[&model, &fixture("audio"), &"-o", &output, &"--jobs", &jobs, &"--window", &window, &"-q"]);
            assert_eq!(status, 0, "{errors}");
            fs::read(output).unwrap()
        });
        assert!(outputs[0] == outputs[1] && outputs[1] == outputs[2], "{format}");
    }
}

#[test]
fn bad_files_are_reported_and_left_out() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.jsonl"));
    let bad = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let flac = fs::read(track("16-24k-stereo.flac")).unwrap();
    let mut wav = fs::read(track("f32-24k-mono.wav")).unwrap();
    let data = wav.len() - 24_000;
    wav[data..data + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let silent = [&fs::read(track("f32-24k-mono.wav")).unwrap()[..58], &[0; 96_000]].concat();
    let files = [
        bad("cut.flac", &flac[..flac.len() / 2]),
        bad("empty.wav", b""),
        bad("text.mp3", b"this is no music, and it is long enough to be looked at by every reader that there is"),
        bad("nan.wav", &wav),
        bad("silent.wav", &silent),
        bad("short.wav", &fs::read(track("f32-24k-mono.wav")).unwrap()[..58 + 4 * 399]),
        folder.path().join("gone.flac"),
    ];
    let good = track("16-24k-stereo.flac");
    let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&model, &good, &"-o", &output];
    arguments.extend(files.iter().map(|file| file as &dyn AsRef<std::ffi::OsStr>));
    let (status, errors) = run(&arguments);
    assert_eq!(status, 1, "{errors}");
    for (name, what) in [
        ("cut.flac", "amaged"),
        ("empty.wav", "empty"),
        ("text.mp3", "not an audio file"),
        ("nan.wav", "NaN"),
        ("silent.wav", "silent"),
        ("gone.flac", "cannot read"),
    ] {
        let line = errors.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {errors}"));
        assert!(line.contains(what) || line.contains("truncated"), "{line}");
    }
    assert!(errors.contains("short.wav"), "{errors}");
    assert!(errors.contains("7 of 8 files were left out"), "{errors}");
    let rows = read(&output);
    assert_eq!(rows.keys, [(good.to_str().unwrap().to_string(), 0, None)]);
    assert!(!Path::new(&format!("{}.journal", output.display())).exists());

    // Damage can be kept, and is then told.
    let kept = folder.path().join("kept.jsonl");
    let (status, errors) = run(&[&model, &files[0], &"-o", &kept, &"--damaged", &"keep"]);
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains("cut.flac: "), "{errors}");
    assert!(read(&kept).times[0].1 < read(&output).times[0].1);

    let strict = folder.path().join("strict.jsonl");
    let (status, errors) = run(&[&model, &files[1], &good, &"-o", &strict, &"--strict"]);
    assert_eq!(status, 2, "{errors}");
    assert!(errors.contains("stopped"), "{errors}");
    assert!(!strict.exists());

    let nothing = folder.path().join("nothing.jsonl");
    let (status, errors) = run(&[&model, &files[1], &"-o", &nothing]);
    assert_eq!((status, nothing.exists()), (2, false), "{errors}");
    assert!(errors.contains("no file could be embedded"), "{errors}");
    assert!(!Path::new(&format!("{}.journal", nothing.display())).exists());
}

#[test]
fn wrong_usage_is_told_before_anything_is_done() {
    let folder = TempDir::new().unwrap();
    let (model, file) = (model(&folder), track("f32-24k-mono.wav"));
    let output = folder.path().join("out.npz");
    let refused = |arguments: &[&dyn AsRef<std::ffi::OsStr>], what: &str| {
        let (status, errors) = run(arguments);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains(what), "`{what}` is not in: {errors}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left");
    };
    refused(&[&model, &file, &"-o", &folder.path().join("out.csv")], ".parquet");
    refused(&[&model, &"-o", &output], "no file to embed");
    refused(&[&model, &file, &"-o", &output, &"--layers", &"13"], "hidden state 13 does not exist");
    refused(&[&model, &file, &"-o", &output, &"--pool", &"median"], "mean+std");
    refused(&[&model, &file, &"-o", &output, &"--window", &"sliding:0s/1s"], "sliding");
    refused(&[&model, &file, &"-o", &output, &"--device", &"tpu"], "cpu");
    refused(&[&model, &"-", &"-o", &output], "--input-rate");
    refused(&[&model, &"-", &"-o", &output, &"--input-rate", &"24000"], "middle");
    refused(&[&model, &file, &"-o", &output, &"--input-rate", &"24000"], "standard input");
    refused(
        &[&"mert", &file, &"-o", &output],
        "there is no file `mert`; give a converted .safetensors file, or a model",
    );
    refused(&[&fixture("mert-tiny/pytorch_model.bin"), &file, &"-o", &output], "pytorch_model.bin");
    refused(&[&model, &file, &"-o", &folder.path().join("none/out.npz")], "cannot write");
    fs::write(&output, "mine").unwrap();
    let (status, errors) = run(&[&model, &file, &"-o", &output]);
    assert_eq!((status, fs::read_to_string(&output).unwrap().as_str()), (2, "mine"), "{errors}");
    assert!(errors.contains("--force"), "{errors}");
    assert_eq!(run(&[&model, &file, &"-o", &output, &"--force", &"-q"]), (0, String::new()));
}

#[test]
fn a_python_programs_configuration_is_understood() {
    let folder = TempDir::new().unwrap();
    let (model, output, config) = (model(&folder), folder.path().join("out.npz"), folder.path().join("config.yaml"));
    let mert = format!("model_name: {}\n    layer: -1\n    aggregation: mean\n    device: cpu", model.display());
    fs::write(&config, format!("dataset: x\nfeature_extraction:\n  mert:\n    {mert}\n    hop: 5\n")).unwrap();
    let file = track("f32-24k-mono.wav");
    let (status, errors) = run(&[&"--config", &config, &file, &"-o", &output]);
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains("not used: hop") && errors.contains("hidden state 12, the output of layer 12"), "{errors}");
    assert_eq!(read(&output).layers, [12]);
    // What is given wins.
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 8] =
        [&"--config", &config, &file, &"-o", &output, &"--layers", &"3", &"--force"];
    assert_eq!(run(&arguments).0, 0);
    assert_eq!(read(&output).layers, [3]);
    fs::write(&config, "feature_extraction:\n  mert:\n    layer: 13\n").unwrap();
    let (status, errors) = run(&[&"--config", &config, &"--model", &model, &file, &"-o", &output, &"--force"]);
    assert_eq!(status, 2);
    assert!(errors.contains("layer: hidden state 13 does not exist"), "{errors}");
}

#[test]
fn what_is_read_or_is_anothers_is_not_overwritten() {
    let folder = TempDir::new().unwrap();
    let (model, file) = (model(&folder), track("f32-24k-mono.wav"));
    let at = |name: &str| folder.path().join(name);
    let refused = |arguments: &[&dyn AsRef<std::ffi::OsStr>], what: &str| {
        let (status, errors) = run(arguments);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains(what), "`{what}` is not in: {errors}");
    };
    let before = fs::read(&model).unwrap();
    refused(&[&model, &file, &"-o", &model, &"--force"], "is an input");
    fs::write(at("list.jsonl"), file.to_str().unwrap()).unwrap();
    refused(&[&model, &"--list", &at("list.jsonl"), &"-o", &at("list.jsonl"), &"--force"], "is an input");
    fs::write(at("out.rows.jsonl"), "mine").unwrap();
    refused(&[&model, &file, &"-o", &at("out.npy")], "out.rows.jsonl exists");
    fs::write(at("out.npz.journal"), "mine").unwrap();
    refused(&[&model, &file, &"-o", &at("out.npz")], "no journal");
    fs::create_dir(at("folder.npz")).unwrap();
    refused(&[&model, &file, &"-o", &at("folder.npz"), &"--force"], "folder.npz");
    refused(&[&model, &file, &"-o", &at("jobs.npz"), &"--jobs", &"4096"], "1024");
    refused(&[&model, &file, &"-o", &at("long.npz"), &"--window", &"middle:1800s"], "at most 600");
    for name in ["out.rows.jsonl", "out.npz.journal"] {
        assert_eq!(fs::read_to_string(at(name)).unwrap(), "mine");
    }
    assert_eq!(fs::read(&model).unwrap(), before);
}

/// Links to nothing, folders around themselves and names that are no Unicode are files like others.
#[cfg(unix)]
#[test]
fn odd_names_and_links_do_not_end_a_run() {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let folder = TempDir::new().unwrap();
    let (model, music, output) = (model(&folder), folder.path().join("music"), folder.path().join("out.jsonl"));
    fs::create_dir_all(music.join("sub")).unwrap();
    let bytes = fs::read(track("f32-24k-mono.wav")).unwrap();
    fs::write(music.join(std::ffi::OsStr::from_bytes(b"a\xff.wav")), &bytes).unwrap();
    fs::write(music.join("b\n\x1b.wav"), &bytes).unwrap();
    symlink("/nonexistent", music.join("gone.wav")).unwrap();
    symlink("..", music.join("sub/up")).unwrap();
    let (status, errors) = run(&[&model, &music, &"-o", &output]);
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("gone.wav") && errors.contains("2 of 4 files were left out"), "{errors}");
    let rows = read(&output);
    assert_eq!(rows.keys.len(), 2);
    assert!(rows.keys[1].0.ends_with("b\n\x1b.wav") && rows.values[0] == rows.values[1]);
}

/// What standard input had said in an earlier run is not this run's.
#[cfg(unix)]
#[test]
fn rows_of_standard_input_do_not_outlive_their_run() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.jsonl"));
    let (good, bad) = (track("f32-24k-mono.wav"), folder.path().join("bad.wav"));
    fs::write(&bad, "").unwrap();
    let start = |files: &[&Path], more: &[&str], stdin: Vec<u8>| {
        let mut command = runner::command("mert-embed");
        command.arg(&model).arg("-").args(files).args(["--input-rate", "24000", "--window", "whole", "--jobs", "1"]);
        command.arg("-o").arg(&output).args(more).write_stdin(stdin).output().unwrap().status.code()
    };
    let samples = samples_of("f32-24k-mono.wav");
    assert_eq!(start(&[&good, &bad], &["--strict"], samples), Some(2));
    assert_eq!(start(&[&good], &[], f32::NAN.to_le_bytes().to_vec()), Some(1));
    assert_eq!(read(&output).keys, [(good.to_str().unwrap().to_string(), 0, None)]);
}

/// Neither standard input that says nothing nor a window that takes long keeps a run alive.
#[cfg(unix)]
#[test]
fn an_interrupt_does_not_wait_for_standard_input() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let mut stdin = None;
    let status = interrupted(&model, &output, |child| {
        let id = child.id().to_string();
        stdin = child.stdin.take();
        assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    });
    assert_eq!(status.code(), Some(130));
    assert_eq!(whole_run(&model, &output, &[]).0, 0);
}

/// Starts a run that has embedded two files and waits for standard input; `stop` ends it.
fn interrupted(model: &Path, output: &Path, stop: impl FnOnce(&mut Child)) -> std::process::ExitStatus {
    let files = [track("16-24k-stereo.flac"), track("f32-24k-mono.wav")];
    let mut child = std::process::Command::new(runner::binary("mert-embed"))
        .args([model, &files[0], &files[1], Path::new("-"), Path::new("-o"), output])
        .args(["--jobs", "1", "--window", "whole", "--input-rate", "24000"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let journal = PathBuf::from(format!("{}.journal", output.display()));
    let started = Instant::now();
    let finished = || {
        let bytes = fs::read(&journal).unwrap_or_default();
        bytes.windows(9).filter(|bytes| bytes == b"F{\"id\":1," || bytes == b"F{\"id\":2,").count() == 2
    };
    while !finished() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come to the second file");
        std::thread::sleep(Duration::from_millis(20));
    }
    stop(&mut child);
    child.wait().unwrap()
}

/// The same run to its end. `stdin` is what it was waiting for.
fn whole_run(model: &Path, output: &Path, more: &[&str]) -> (i32, String) {
    let stdin = samples_of("f32-24k-mono.wav");
    let result = runner::command("mert-embed")
        .args([
            model,
            &track("16-24k-stereo.flac"),
            &track("f32-24k-mono.wav"),
            Path::new("-"),
            Path::new("-o"),
            output,
        ])
        .args(["--jobs", "1", "--window", "whole", "--input-rate", "24000"])
        .args(more)
        .write_stdin(stdin)
        .output()
        .unwrap();
    (result.status.code().unwrap(), String::from_utf8_lossy(&result.stderr).into_owned())
}

/// The samples of a WAV of floats.
fn samples_of(name: &str) -> Vec<u8> {
    let bytes = fs::read(track(name)).unwrap();
    let start = bytes.windows(4).position(|id| id == b"data").unwrap() + 8;
    bytes[start..].to_vec()
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_and_comes_to_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    for format in ["npz", "parquet", "jsonl"] {
        let at = |name: &str| folder.path().join(format!("{name}.{format}"));
        assert_eq!(whole_run(&model, &at("whole"), &[]).0, 0);
        let kill = |child: &mut Child| child.kill().unwrap();
        assert_eq!(interrupted(&model, &at("killed"), kill).code(), None);
        assert!(!at("killed").exists());
        let journal = PathBuf::from(format!("{}.journal", at("killed").display()));
        // As if the machine had gone down while it wrote.
        let mut bytes = fs::read(&journal).unwrap();
        bytes.extend_from_slice(&[200, 0, 0, 0, 1, 2, 3]);
        fs::write(&journal, &bytes).unwrap();

        let (status, errors) = whole_run(&model, &at("killed"), &["--layers", "7"]);
        assert_eq!(status, 2, "{errors}");
        assert!(errors.contains("hidden_states: now [7], then [6]") && errors.contains("--restart"), "{errors}");
        let (status, errors) = whole_run(&model, &at("killed"), &[]);
        assert_eq!(status, 0, "{errors}");
        assert_eq!(fs::read(at("killed")).unwrap(), fs::read(at("whole")).unwrap(), "{format}");
        assert!(!journal.exists());
    }
}

#[cfg(unix)]
#[test]
fn files_that_are_done_are_not_read_again_unless_they_changed() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let (output, copy) = (folder.path().join("out.jsonl"), folder.path().join("copy.wav"));
    fs::copy(track("f32-24k-mono.wav"), &copy).unwrap();
    let start = |files: &[&Path]| {
        let mut command = runner::command("mert-embed");
        command.arg(&model).args(files).args(["-", "--input-rate", "24000", "--window", "whole", "--jobs", "1", "-o"]);
        command.arg(&output).args(["--strict"]);
        command
    };
    // Standard input that is no sound stops a strict run after the first file was done.
    let bad = start(&[&copy]).write_stdin("123").output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
    // What can no longer be read was read already.
    let modified = fs::metadata(&copy).unwrap().modified().unwrap();
    let good = fs::read(&copy).unwrap();
    fs::write(&copy, vec![b'x'; good.len()]).unwrap();
    fs::File::open(&copy).unwrap().set_modified(modified).unwrap();
    assert_eq!(start(&[&copy]).write_stdin("123").output().unwrap().status.code(), Some(2));
    let done = start(&[&copy]).write_stdin(samples_of("f32-24k-mono.wav")).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let rows = read(&output);
    assert_eq!(rows.keys[1].0, "-");
    assert_eq!(rows.values[0], rows.values[1], "raw samples and a file of them are the same");
    // A changed file is read anew.
    fs::remove_file(&output).unwrap();
    fs::write(&copy, &good).unwrap();
    assert_eq!(start(&[&copy]).write_stdin("123").output().unwrap().status.code(), Some(2));
    fs::write(&copy, "changed").unwrap();
    let changed = start(&[&copy]).write_stdin(samples_of("f32-24k-mono.wav")).output().unwrap();
    assert_eq!(changed.status.code(), Some(2), "{}", String::from_utf8_lossy(&changed.stderr));
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_is_done() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let interrupt = |child: &mut Child| {
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        // It is waiting for samples, and sees the interrupt when they come.
        child.stdin.take().unwrap().write_all(&samples_of("f32-24k-mono.wav")).unwrap();
    };
    assert_eq!(interrupted(&model, &output, interrupt).code(), Some(130));
    assert!(!output.exists());
    assert!(Path::new(&format!("{}.journal", output.display())).exists());
    assert_eq!(whole_run(&model, &output, &[]).0, 0);
}

#[cfg(unix)]
#[test]
fn two_runs_do_not_write_one_output() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    interrupted(&model, &output, |child| {
        let (status, errors) = whole_run(&model, &output, &[]);
        assert_eq!(status, 2);
        assert!(errors.contains("in use"), "{errors}");
        child.kill().unwrap();
    });
}

#[test]
fn raw_samples_of_another_kind_are_called_out() {
    let folder = TempDir::new().unwrap();
    let (model, output) = (model(&folder), folder.path().join("out.npz"));
    let embed = |bytes: Vec<u8>, rate: &str| {
        let output = runner::command("mert-embed")
            .args([&model, Path::new("-"), Path::new("-o"), &output])
            .args(["--window", "whole", "--input-rate", rate])
            .write_stdin(bytes)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let mut sixteen_bit = Vec::new();
    fs::File::open(track("s16-16k-stereo.wav")).unwrap().read_to_end(&mut sixteen_bit).unwrap();
    let (status, errors) = embed(sixteen_bit[44..].to_vec(), "16000");
    assert_eq!(status, 2);
    assert!(errors.contains("32-bit little-endian floats") || errors.contains("NaN"), "{errors}");
    let (status, errors) = embed(samples_of("f32-24k-mono.wav"), "0");
    assert_eq!(status, 2);
    assert!(errors.contains("sample rate 0 Hz"), "{errors}");
}

#[test]
fn samples_at_another_rate_than_the_models_are_refused() {
    let folder = TempDir::new().unwrap();
    let embedder = embedder(&model(&folder), "6", Pool::Mean, false);
    let mut samples: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.1).sin()).collect();
    let error = embedder.embed(&mut embedder.workspace(), &mut samples, 16_000).unwrap_err().to_string();
    assert!(error.contains("16000 Hz") && error.contains("24000 Hz") && error.contains("resample"), "{error}");
    assert!(embedder.embed(&mut embedder.workspace(), &mut samples, 24_000).is_ok());
}

/// A stream that arrives in blocks gives what a file of it gives, bit for bit, resampled or not.
#[test]
fn live_sound_is_embedded_as_a_file_of_it() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let policy: WindowPolicy = "sliding:0.5s/0.2s".parse().unwrap();
    for (name, rate) in [("f32-24k-mono.wav", 24_000), ("f32-8k-mono.aifc", 8_000)] {
        let embedder = embedder(&model, "6,12", Pool::Mean, true);
        let mut workspace = embedder.workspace();
        let mut windows =
            Track::open(&track(name), 24_000, Damage::Refuse).unwrap().windows(&policy, Tail::Drop, 400).unwrap();
        let mut expected = Vec::new();
        while let Some(mut window) = windows.next_window().unwrap() {
            expected.push(embedder.embed(&mut workspace, &mut window.samples, 24_000).unwrap().values);
        }
        let samples = mono_samples(&track(name));
        let options =
            EncoderOptions { input_rate: rate, window: "0.5s".parse().unwrap(), hop: "0.2s".parse().unwrap() };
        let mut encoder = Encoder::new(embedder, options).unwrap();
        for block in [1, 480, 100_000] {
            let mut found = Vec::new();
            for samples in samples.chunks(block) {
                encoder
                    .push(samples, |hop| {
                        assert_eq!(hop.index, found.len() as u64);
                        assert!((hop.end - hop.start - 0.5).abs() < 1e-9);
                        found.push(hop.values.unwrap().to_vec());
                    })
                    .unwrap();
            }
            // What is still in the resampler when the stream stops may hold the last window.
            let late = (encoder.delay() / 0.2).ceil() as usize;
            assert!(found.len() >= expected.len() - late && found.len() > 2, "{} of {}", found.len(), expected.len());
            assert_eq!(found, expected[..found.len()], "{name} in blocks of {block}");
            encoder.reset();
        }
    }
}

fn mono_samples(path: &Path) -> Vec<f32> {
    use mert_audio::Source;
    let mut file = mert_audio::AudioFile::open(path, Damage::Refuse).unwrap();
    let mut samples = Vec::new();
    while let Some(block) = file.next_block().unwrap() {
        samples.extend_from_slice(block);
    }
    samples
}

#[test]
fn live_silence_and_numbers_that_are_none_are_told() {
    let folder = TempDir::new().unwrap();
    let embedder = embedder(&model(&folder), "6", Pool::Mean, false);
    let options = EncoderOptions { input_rate: 24_000, window: "0.5s".parse().unwrap(), hop: "0.5s".parse().unwrap() };
    assert!(Encoder::new(embedder.clone(), EncoderOptions { input_rate: 0, ..options }).is_err());
    assert!(Encoder::new(embedder.clone(), EncoderOptions { window: "1ms".parse().unwrap(), ..options }).is_err());
    let mut encoder = Encoder::new(embedder, options).unwrap();
    let mut silent = 0;
    encoder.push(&[0.0; 24_000], |hop| silent += usize::from(hop.values.is_none())).unwrap();
    assert_eq!(silent, 2);
    let error = encoder.push(&[0.1, f32::NAN], |_| {}).unwrap_err();
    assert!(error.to_string().contains("sample 24001"), "{error}");
}
