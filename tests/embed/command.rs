//! `mert-embed` on the generated tracks: the vectors of PyTorch, every output format, and the options that select
//! vectors.

use std::fs;
use std::path::{Path, PathBuf};

use mert_audio::{Damage, Tail, Track, WindowPolicy};
use mert_embed::Normalization;
use mert_testkit::fixture;
use npyz::npz::NpzArchive;
use tempfile::TempDir;

use crate::embeddings::{FORMATS, Rows, embedder, model, read, run, track};
use crate::independent_readers;

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The whole way from a file to pooled hidden states, against soundfile or ffmpeg, soxr, transformers'
/// `Wav2Vec2FeatureExtractor` and its `HubertModel`.
///
/// Without resampling only the order of sums differs: 1e-9 is what the gate calls structure. With it the two resamplers
/// differ in their last few percent below the Nyquist frequency: 3.6e-6 was measured at most, where linear
/// interpolation has 1.2e-5 to 6e-3 and a shift by one sample 1.7e-3.
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

/// The outputs are read twice: by the table's own readers, and by those of other crates, because what this program
/// writes is for other programs.
#[test]
fn every_format_holds_the_same_rows() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder);
    let files = [track("f32-24k-mono.wav"), track("16-44k1-stereo.flac")];
    for (layers, pool) in [("6", "mean"), ("0,6,12", "mean+std"), ("5", "none"), ("3-4", "none"), ("all", "max")] {
        for format in FORMATS {
            let output = folder.path().join(format!("{layers}-{pool}.{format}"));
            let window = "sliding:0.4s/0.1s";
            let options: [&dyn AsRef<std::ffi::OsStr>; 6] =
                [&"--layers", &layers, &"--pool", &pool, &"--window", &window];
            let arguments: [&dyn AsRef<std::ffi::OsStr>; 5] = [&model, &files[0], &files[1], &"-o", &output];
            let (status, errors) = run(&[&arguments[..], &options].concat());
            assert_eq!(status, 0, "{errors}");
            for mut rows in [independent_readers::read(&output), read(&output)] {
                // One array alone does not say which hidden states it has.
                rows.layers = if format == "npy" { selected(layers) } else { rows.layers };
                assert_eq!(rows.layers, selected(layers), "{format}");
                check_rows(&rows, &model, &files, layers, pool, format);
            }
        }
    }
}

/// The hidden states of a model with 13 of them that `layers` selects.
fn selected(layers: &str) -> Vec<usize> {
    let selection: mert_arch::LayerSelection = layers.parse().unwrap();
    selection.resolve(13).unwrap()
}

/// Compares rows with the windows and vectors that the library gives one by one.
fn check_rows(rows: &Rows, model: &Path, files: &[PathBuf], layers: &str, pool: &str, format: &str) {
    let embedder = embedder(model, layers, pool.parse().unwrap(), Normalization::None);
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
    // Options on the command line take precedence.
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 8] =
        [&"--config", &config, &file, &"-o", &output, &"--layers", &"3", &"--force"];
    assert_eq!(run(&arguments).0, 0);
    assert_eq!(read(&output).layers, [3]);
    fs::write(&config, "feature_extraction:\n  mert:\n    layer: 13\n").unwrap();
    let (status, errors) = run(&[&"--config", &config, &"--model", &model, &file, &"-o", &output, &"--force"]);
    assert_eq!(status, 2);
    assert!(errors.contains("layer: hidden state 13 does not exist"), "{errors}");
}
