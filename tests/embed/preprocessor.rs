//! The input that `mert-embed` and the streaming embedder pass to a model: audio at the rate, and with the
//! normalisation, that the converted file records.

use std::fs;
use std::path::{Path, PathBuf};

use mert_arch::Dtype;
use mert_audio::{Damage, Tail, Track, WindowPolicy};
use mert_checkpoint::Source;
use mert_convert::{Plan, PlanOptions, PreprocessorOptions, write};
use mert_embed::{Embedder, Normalization, Pool, StreamingEmbedder, StreamingOptions};
use mert_runtime::{DeviceKind, Model};
use mert_testkit::{ConvertedModel, fixture, runner};
use serde_json::Value;
use tempfile::TempDir;

use crate::voice;

const LAYER: usize = 2;

fn model(folder: &TempDir, sampling_rate: u32, do_normalize: bool) -> PathBuf {
    let source = Source::open(&fixture("mert-tiny/pytorch_model.bin")).unwrap();
    let preprocessor =
        PreprocessorOptions { file: None, sampling_rate: Some(sampling_rate), do_normalize: Some(do_normalize) };
    let options = PlanOptions { dtype: Dtype::F32, preprocessor, ..PlanOptions::default() };
    let output = folder.path().join(format!("{sampling_rate}-{do_normalize}.safetensors"));
    write::safetensors(&Plan::new(&source, &options).unwrap(), &source, &output, true, &|_| {}).unwrap();
    output
}

/// A line of output for a whole file, and the messages.
fn embed(folder: &TempDir, model: &Path, input: &Path) -> (Value, String) {
    let output = folder.path().join("out.jsonl");
    let mut command = runner::command("mert-embed");
    command.arg(model).arg(input).arg("-o").arg(&output);
    command.args(["--layers", &LAYER.to_string(), "--window", "whole", "--force"]);
    let run = command.output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(0), "{said}");
    (serde_json::from_str(fs::read_to_string(&output).unwrap().lines().next().unwrap()).unwrap(), said)
}

fn vector(line: &Value) -> Vec<f32> {
    serde_json::from_value(line["hidden_states"][LAYER.to_string()].clone()).unwrap()
}

/// The mean over frames of a hidden state, for samples that enter the model unchanged.
fn pooled(model: &Path, samples: &[f32]) -> Vec<f64> {
    let model = Model::open(model, Dtype::F32, &DeviceKind::Cpu.open().unwrap()).unwrap();
    let state = model.hidden_states(samples, &[LAYER]).unwrap().remove(0);
    let (_, frames, width) = state.dims3().unwrap();
    let values = state.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mean = |i: usize| values.iter().skip(i).step_by(width).map(|&x| f64::from(x)).sum::<f64>() / frames as f64;
    (0..width).map(mean).collect()
}

fn samples(input: &Path, rate: u32) -> Vec<f32> {
    let track = Track::open(input, rate, Damage::Refuse).unwrap();
    let mut windows = track.windows(&WindowPolicy::Whole, Tail::Align, 400).unwrap();
    windows.next_window().unwrap().unwrap().samples
}

/// Zero mean and unit variance, as transformers defines them.
fn normalized(samples: &[f32]) -> Vec<f32> {
    let count = samples.len() as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = samples.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    samples.iter().map(|&x| ((f64::from(x) - mean) / (variance + 1e-7).sqrt()) as f32).collect()
}

fn error(found: &[f32], expected: &[f64]) -> f64 {
    let difference: f64 = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    difference / expected.iter().map(|x| x * x).sum::<f64>()
}

#[test]
fn files_are_fed_as_the_model_records() {
    let folder = TempDir::new().unwrap();
    let input = fixture("audio/s24-24k-mono-quiet.wav");
    for rate in [24_000, 16_000] {
        let recorded = samples(&input, rate);
        for do_normalize in [true, false] {
            let model = model(&folder, rate, do_normalize);
            let (line, _) = embed(&folder, &model, &input);
            let (fed, other) = match do_normalize {
                true => (normalized(&recorded), recorded.clone()),
                false => (recorded.clone(), normalized(&recorded)),
            };
            let found = vector(&line);
            assert!(error(&found, &pooled(&model, &fed)) < 1e-9, "{rate} {do_normalize}");
            // The quiet track shows the difference.
            assert!(error(&found, &pooled(&model, &other)) > 1e-4, "{rate} {do_normalize}");
            assert_eq!(line["end"].as_f64().unwrap(), recorded.len() as f64 / f64::from(rate));
        }
    }
}

#[test]
fn live_sound_is_fed_as_the_model_records() {
    let folder = TempDir::new().unwrap();
    let input = fixture("audio/s24-24k-mono-quiet.wav");
    let recorded = samples(&input, 24_000);
    let path = model(&folder, 24_000, false);
    let model = Model::open(&path, Dtype::F32, &DeviceKind::Cpu.open().unwrap()).unwrap();
    let embedder = Embedder::new(model, &LAYER.to_string().parse().unwrap(), Pool::Mean, Normalization::None).unwrap();
    let options =
        StreamingOptions { input_rate: 24_000, window: "0.5s".parse().unwrap(), hop: "0.5s".parse().unwrap() };
    let mut stream = StreamingEmbedder::new(embedder, options).unwrap();
    let mut found = Vec::new();
    stream.push(&recorded[..12_000], |window| found.extend_from_slice(window.values.unwrap())).unwrap();
    // Without normalisation, silence is valid input.
    stream.push(&vec![0.0; 24_000], |window| assert!(window.values.is_some())).unwrap();
    assert!(error(&found, &pooled(&path, &recorded[..12_000])) < 1e-9);
}

#[test]
fn silence_is_embedded_where_nothing_is_normalised() {
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("silent.wav");
    let header = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data\x80\xbb\0\0";
    let mut wav = header.to_vec();
    wav[4..8].copy_from_slice(&(36u32 + 48_000).to_le_bytes());
    wav.extend_from_slice(&[0; 48_000]);
    fs::write(&input, &wav).unwrap();
    let path = model(&folder, 24_000, false);
    let (line, _) = embed(&folder, &path, &input);
    assert!(error(&vector(&line), &pooled(&path, &[0.0; 24_000])) < 1e-9);
}

/// A change of a `config.json`.
type Change<'a> = &'a dyn Fn(&mut Value);

/// A folder with a checkpoint of this architecture, its `config.json` after `change`, and a `preprocessor_config.json`.
fn checkpoint(folder: &TempDir, name: &str, rate: u32, do_normalize: bool, change: impl FnOnce(&mut Value)) -> PathBuf {
    let path = folder.path().join(format!("{name}-{rate}"));
    fs::create_dir_all(&path).unwrap();
    fs::copy(fixture(name).join("pytorch_model.bin"), path.join("pytorch_model.bin")).unwrap();
    let mut config: Value = serde_json::from_slice(&fs::read(fixture(name).join("config.json")).unwrap()).unwrap();
    change(&mut config);
    fs::write(path.join("config.json"), config.to_string()).unwrap();
    let preprocessor = serde_json::json!({ "do_normalize": do_normalize, "sampling_rate": rate,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1 });
    fs::write(path.join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    path
}

/// Hidden states that transformers computed for samples that were not normalised, beside those of `mert-embed` and of the
/// streaming embedder for the same samples in a file and as live sound: HuBERT at its usual rate; HuBERT beside a
/// `sampling_rate` of 24000; a `mert_model` at 16 kHz, as MERT-v0-public is; and a model with layer norm in its features,
/// which hides no scale.
#[test]
fn samples_that_are_not_normalised_give_what_transformers_gives() {
    let folder = TempDir::new().unwrap();
    let recorded = voice::reference("input_values").values;
    let mert = |config: &mut Value| {
        config["model_type"] = "mert_model".into();
        config["sample_rate"] = 16_000.into();
    };
    let as_it_is: Change<'_> = &|_| {};
    let cases = [
        ("voice-conversion", 16_000, "hidden_states", as_it_is),
        ("voice-conversion", 24_000, "hidden_states", as_it_is),
        ("voice-conversion", 16_000, "hidden_states", &mert as Change<'_>),
        ("stable-layer-norm", 16_000, "layer_norm_hidden_states", as_it_is),
    ];
    for (name, rate, array, change) in cases {
        let expected = voice::reference(array).at(LAYER).mean();
        for do_normalize in [false, true] {
            let source = checkpoint(&folder, name, rate, do_normalize, change);
            let model = voice::convert(&source, &folder.path().join("model.safetensors"), &[]);
            let input = folder.path().join("take.wav");
            voice::write_wav(&input, &recorded, rate);
            let (line, said) = embed(&folder, &model, &input);
            assert!(!said.contains("assumed"), "{said}");
            let from_file = vector(&line);

            let model = Model::open(&model, Dtype::F32, &DeviceKind::Cpu.open().unwrap()).unwrap();
            let layers = LAYER.to_string().parse().unwrap();
            let embedder = Embedder::new(model, &layers, Pool::Mean, Normalization::None).unwrap();
            assert_eq!((embedder.sample_rate(), embedder.normalizes()), (rate, do_normalize));
            let seconds = format!("{}s", recorded.len() as f64 / f64::from(rate)).parse().unwrap();
            let options = StreamingOptions { input_rate: rate, window: seconds, hop: seconds };
            let mut stream = StreamingEmbedder::new(embedder, options).unwrap();
            let mut live = Vec::new();
            stream.push(&recorded, |window| live.extend_from_slice(window.values.unwrap())).unwrap();

            for found in [from_file, live] {
                let nmse = voice::error(&found, &expected);
                // 0.26 and more for the same samples, normalised (scripts/fixtures/make_voice.py).
                let is_right = if do_normalize { nmse > 1e-2 } else { nmse < 1e-10 };
                assert!(is_right, "{name} at {rate} Hz, do_normalize {do_normalize}: {nmse:e}");
            }
        }
    }
}

/// A checkpoint without a preprocessor's file: the plan, `mert-embed` and its outputs say what is assumed.
#[test]
fn an_unknown_is_said_from_the_plan_to_the_output() {
    let folder = TempDir::new().unwrap();
    let source = checkpoint(&folder, "stable-layer-norm", 16_000, false, |_| {});
    fs::remove_file(source.join("preprocessor_config.json")).unwrap();
    let model = folder.path().join("model.safetensors");
    let run = runner::run("mert-convert", [source.as_path(), &model, "--dtype".as_ref(), "f32".as_ref()]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("16000 Hz (assumed: ") && run.stdout.contains("do_normalize true (assumed: "));
    let output = folder.path().join("out.safetensors");
    let mut command = runner::command("mert-embed");
    command
        .arg(&model)
        .arg(fixture("audio/extensible-s24-16k-mono.wav"))
        .arg("-o")
        .arg(&output)
        .args(["--layers", "1"]);
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("assumed: sampling_rate 16000 (") && said.contains("do_normalize true ("), "{said}");
    let bytes = fs::read(&output).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let assumed = &header.metadata().as_ref().unwrap()["assumed"];
    assert!(assumed.starts_with("sampling_rate 16000 (") && assumed.contains("do_normalize true ("), "{assumed}");
}

#[test]
fn a_listing_says_what_the_model_takes() {
    let folder = TempDir::new().unwrap();
    let model = model(&folder, 16_000, false);
    let mut command = runner::command("mert-embed");
    command.arg(&model).arg(fixture("audio/f32-24k-mono.wav")).arg("--dry-run");
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(said.contains("audio at 16000 Hz, not normalised; a frame every 320 samples, 50 in a second"), "{said}");
}

/// A file of an older converter, which records no preprocessor.
#[test]
fn what_is_assumed_is_said() {
    let folder = TempDir::new().unwrap();
    let path = model(&folder, 24_000, true);
    let input = fixture("audio/f32-24k-mono.wav");
    let (expected, said) = embed(&folder, &path, &input);
    assert!(!said.contains("assumed"), "{said}");
    let mut old = ConvertedModel::read(&path).unwrap();
    old.metadata.preprocessor_origin = None;
    old.write(&path).unwrap();
    let (line, said) = embed(&folder, &path, &input);
    assert!(said.contains("assumed: sampling_rate 24000 and do_normalize true (the converted file does not"), "{said}");
    assert_eq!(vector(&line), vector(&expected));
}

/// The field is part of an output's settings, and of the settings that must match to continue an interrupted run.
#[test]
fn outputs_record_it() {
    let folder = TempDir::new().unwrap();
    let path = model(&folder, 24_000, false);
    let output = folder.path().join("out.safetensors");
    let mut command = runner::command("mert-embed");
    command.arg(&path).arg(fixture("audio/f32-24k-mono.wav")).arg("-o").arg(&output).args(["--layers", "1"]);
    command.assert().success();
    let bytes = fs::read(&output).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["do_normalize"], "false");
}
