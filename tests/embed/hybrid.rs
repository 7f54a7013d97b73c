//! The choice of encoders in a YAML configuration: one of two, or both with concatenated embeddings. The two encoders are
//! tiny models of different rates: MERT at 24 kHz, normalised, and the HuBERT of voice conversion at 16 kHz, as it is.

use std::fs;
use std::path::{Path, PathBuf};

use mert_table::{Settings, TableReader};
use mert_testkit::{fixture, runner};
use serde_json::Value;
use tempfile::TempDir;

use crate::embeddings::{FORMATS, Rows, read, track};
use crate::voice::{self, convert, embed, write_wav};

/// A folder with both models.
struct Models {
    folder: TempDir,
    mert: PathBuf,
    wav2vec: PathBuf,
}

impl Models {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mert = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder.path().join("mert.safetensors"), &[]);
        let wav2vec = convert(&fixture("voice-conversion"), &folder.path().join("wav2vec.safetensors"), &[]);
        Models { folder, mert, wav2vec }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration with these keys in the sections of the encoders.
    fn config(&self, encoder: &str, mert: &str, wav2vec: &str) -> PathBuf {
        let section = |model: &PathBuf, keys: &str| format!("{{model_name: '{}', {keys}}}", model.display());
        let text = format!(
            "feature_extraction:\n  encoder: {encoder}\n  mert: {}\n  wav2vec: {}\n",
            section(&self.mert, mert),
            section(&self.wav2vec, wav2vec)
        );
        let path = self.path("config.yaml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The rows that an encoder choice gives for `inputs`, and what was said.
    fn rows(&self, config: &Path, inputs: &[PathBuf], output: &str, options: &[&str]) -> (Rows, String) {
        let output = self.path(output);
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--config", &config, &"-o", &output, &"--force"];
        arguments.extend(inputs.iter().map(|input| input as &dyn AsRef<std::ffi::OsStr>));
        arguments.extend(options.iter().map(|option| option as &dyn AsRef<std::ffi::OsStr>));
        let (status, said) = embed(&arguments);
        assert_eq!(status, 0, "{said}");
        (read(&output), said)
    }
}

const MERT: &str = "layer: [6, 12], aggregation: mean_std";
const WAV2VEC: &str = "layer: 9, aggregation: max";

/// Tracks at other rates than both models', compressed and not.
fn tracks() -> Vec<PathBuf> {
    ["16-44k1-stereo.flac", "vbr-48k-stereo.mp3", "aac-44k1-stereo.m4a", "extensible-s24-16k-mono.wav"]
        .map(track)
        .into()
}

/// Bit for bit, whatever the windows are: each encoder gets the samples that it gets alone.
#[test]
fn pooled_rows_are_those_of_the_two_encoders_one_after_the_other() {
    let models = Models::new();
    for window in ["sliding:0.4s/0.1s", "middle:0.5s", "whole"] {
        let options = ["--window", window, "--normalize", "l2"];
        let mut runs = ["mert", "wav2vec", "hybrid"].map(|encoder| {
            let config = models.config(encoder, MERT, WAV2VEC);
            models.rows(&config, &tracks(), "out.npz", &options).0
        });
        let [mert, wav2vec, hybrid] = &mut runs;
        assert!(hybrid.values.len() >= tracks().len());
        assert_eq!(hybrid.keys, mert.keys);
        assert_eq!(hybrid.times, mert.times);
        assert_eq!(hybrid.keys, wav2vec.keys, "{window}: the same windows");
        let near = |(a, b): (&(f64, f64), &(f64, f64))| (a.0 - b.0).abs() < 1.0 / 16_000.0 && (a.1 - b.1).abs() < 1e-4;
        assert!(mert.times.iter().zip(&wav2vec.times).all(near), "{window}");
        let joined: Vec<Vec<f32>> =
            mert.values.iter().zip(&wav2vec.values).map(|(a, b)| [&a[..], b].concat()).collect();
        assert_eq!(hybrid.values[0].len(), 2 * 128 + 24);
        assert!(hybrid.values == joined, "{window}");
        assert_eq!(hybrid.model, format!("{}+{}", mert.model, wav2vec.model));
    }
}

/// The frames of the first encoder, each with the frame of the other whose centre is nearest, by a definition in floating
/// point that is written down like numpy's argmin over all distances.
#[test]
fn frames_are_joined_by_the_nearest_centre() {
    let models = Models::new();
    let inputs = [track("16-44k1-stereo.flac"), track("24-96k-mono.flac")];
    let options = ["--window", "sliding:0.7s/0.35s", "--pool", "none"];
    let [mert, wav2vec, hybrid] = ["mert", "wav2vec", "hybrid"].map(|encoder| {
        let config = models.config(encoder, "layer: 6", "layer: [9, 12]");
        models.rows(&config, &inputs, "out.parquet", &options).0
    });
    assert_eq!((hybrid.keys.clone(), hybrid.times.clone()), (mert.keys.clone(), mert.times.clone()));
    let centre = |frame: u64, rate: f64| (frame as f64 * 320.0 + 200.0) / rate;
    let mut picked = std::collections::BTreeSet::new();
    for ((key, values), own) in hybrid.keys.iter().zip(&hybrid.values).zip(&mert.values) {
        let (file, window, frame) = key;
        let here = centre(frame.unwrap(), 24_000.0);
        let mut nearest: Option<(f64, u64, &Vec<f32>)> = None;
        for (other, values) in wav2vec.keys.iter().zip(&wav2vec.values).filter(|(k, _)| (&k.0, &k.1) == (file, window))
        {
            let distance = (centre(other.2.unwrap(), 16_000.0) - here).abs();
            // Equal distances differ by rounding only; the earlier wins.
            if nearest.is_none_or(|(best, ..)| distance < best - 1e-9) {
                nearest = Some((distance, other.2.unwrap(), values));
            }
        }
        let (_, frame, beside) = nearest.unwrap();
        picked.insert(frame);
        assert!(*values == [&own[..], beside].concat(), "{key:?}");
    }
    // 0.7 s have 34 frames at 16 kHz and 52 at 24 kHz: all of the fewer are used.
    assert_eq!(picked.len(), 34);
}

/// Two models of one rate: frame by frame.
#[test]
fn frames_of_one_rate_are_joined_in_order() {
    let mut models = Models::new();
    let options = ["--sampling-rate", "16000", "--do-normalize", "false"];
    models.mert = convert(&fixture("mert-tiny/pytorch_model.bin"), &models.path("16k.safetensors"), &options);
    let inputs = [track("extensible-s24-16k-mono.wav")];
    let [mert, wav2vec, hybrid] = ["mert", "wav2vec", "hybrid"].map(|encoder| {
        let config = models.config(encoder, "aggregation: none", "layer: -1, aggregation: none");
        models.rows(&config, &inputs, "out.npz", &["--window", "whole"]).0
    });
    let joined: Vec<Vec<f32>> = mert.values.iter().zip(&wav2vec.values).map(|(a, b)| [&a[..], b].concat()).collect();
    assert!(hybrid.values == joined && hybrid.values.len() == wav2vec.values.len());
}

#[test]
fn every_format_names_the_vectors_and_records_rates_and_hops() {
    let models = Models::new();
    let inputs = [track("16-44k1-stereo.flac")];
    let config = models.config("hybrid", MERT, WAV2VEC);
    let mut first: Option<Rows> = None;
    for format in FORMATS {
        let output = format!("out.{format}");
        let (rows, said) = models.rows(&config, &inputs, &output, &["--window", "sliding:0.4s"]);
        for words in [
            "mert: audio at 24000 Hz, normalised",
            "a frame every 320 samples, 75 in a second",
            "wav2vec: audio at 16000 Hz, not normalised",
            "50 in a second",
            "rows: a window each",
            "mert: hidden states 6,12",
            "wav2vec: hidden state 9, the output of layer 9, 24 values each",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let layers = rows.layers.clone();
        assert_eq!(layers, if format == "npy" { vec![] } else { vec![6, 12] }, "{format}");
        let rows = Rows { layers: vec![6, 12], ..rows };
        assert_eq!(first.get_or_insert_with(|| rows.clone()), &rows, "{format}");
        let table = TableReader::open(&models.path(&output)).unwrap();
        if let Some(Settings::Full(provenance)) = table.settings() {
            let hybrid = provenance.hybrid.as_ref().unwrap();
            let other = &hybrid.others[0];
            assert_eq!((provenance.sample_rate, provenance.frame_hop, provenance.do_normalize), (24_000, 320, true));
            assert_eq!((other.sample_rate, other.frame_hop, other.do_normalize), (16_000, 320, false));
            let columns: Vec<String> = provenance.vectors().map(|vector| vector.column()).collect();
            assert_eq!(columns, ["mert_hidden_state_6", "mert_hidden_state_12", "wav2vec_hidden_state_9"]);
        }
    }
    let line = fs::read_to_string(models.path("out.jsonl")).unwrap();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let lengths = ["mert_6", "mert_12", "wav2vec_9"].map(|key| line["hidden_states"][key].as_array().unwrap().len());
    assert_eq!(lengths, [128, 128, 24]);
}

/// A run that was interrupted, or an output to which files are added, becomes what one run over all files writes.
#[test]
fn hybrid_outputs_are_updated() {
    let models = Models::new();
    let config = models.config("hybrid", MERT, WAV2VEC);
    let all = tracks();
    for format in FORMATS {
        let (whole, parts) = (models.path(&format!("whole.{format}")), models.path(&format!("parts.{format}")));
        let options: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"--config", &config, &"--window", &"sliding:0.4s"];
        let inputs: Vec<&dyn AsRef<std::ffi::OsStr>> = all.iter().map(|input| input as _).collect();
        let run = |inputs: &[&dyn AsRef<std::ffi::OsStr>], output: &Path, update: bool| {
            let mut arguments = [&options[..], inputs, &[&"-o", &output]].concat();
            if update {
                arguments.push(&"--update");
            }
            let (status, said) = embed(&arguments);
            assert_eq!(status, 0, "{said}");
        };
        run(&inputs, &whole, false);
        run(&inputs[..2], &parts, false);
        run(&inputs, &parts, true);
        assert!(fs::read(&whole).unwrap() == fs::read(&parts).unwrap(), "{format}");
    }
    // Other encoders are other settings.
    let config = models.config("mert", MERT, WAV2VEC);
    let whole = models.path("whole.parquet");
    let (status, said) =
        embed(&[&"--config", &config, &"-o", &whole, &"--update", &all[0], &"--window", &"sliding:0.4s"]);
    assert!(status == 2 && said.contains("hybrid: now null"), "{said}");
}

/// Samples on standard input can be read only once; both encoders get them.
#[test]
fn both_encoders_hear_standard_input() {
    let models = Models::new();
    let samples = voice::reference("input_values").values;
    let input = models.path("take.wav");
    write_wav(&input, &samples, 16_000);
    let config = models.config("hybrid", "layer: 6", "layer: 9");
    let (from_file, _) = models.rows(&config, &[input], "file.npz", &["--window", "sliding:0.3s/0.1s"]);
    let output = models.path("stdin.npz");
    let mut command = runner::command("mert-embed");
    command.args(["-", "--input-rate", "16000", "--window", "sliding:0.3s/0.1s", "--config"]);
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    command.arg(&config).arg("-o").arg(&output).write_stdin(bytes).assert().success();
    assert!(read(&output).values == from_file.values && from_file.values.len() == 4);
}

/// A window that is silent to an encoder that normalises is left out as a whole.
#[test]
fn silence_to_one_encoder_leaves_the_window_out() {
    let models = Models::new();
    let mut samples = voice::reference("input_values").values;
    samples.extend([0.0; 16_000]);
    let input = models.path("take.wav");
    write_wav(&input, &samples, 16_000);
    let config = models.config("hybrid", "layer: 6", "layer: 9");
    let (rows, said) = models.rows(&config, &[input], "out.npz", &["--window", "sliding:0.3s", "--tail", "drop"]);
    assert!(rows.values.len() == 2 || rows.values.len() == 3, "{}", rows.values.len());
    assert!(said.contains("silent window(s) left out"), "{said}");
}

/// The length of a track is rounded to samples at each rate: 35,279 samples at 44.1 kHz are 19,199 at 24 kHz, one less than
/// two windows of 0.4 s, and 12,800 at 16 kHz, exactly two.
#[test]
fn a_window_that_one_encoder_lacks_is_left_out() {
    let models = Models::new();
    let samples: Vec<f32> = (0..35_279).map(|i| (i as f32 * 0.05).sin() * (i as f32 * 0.0007).cos()).collect();
    let input = [models.path("take.wav")];
    write_wav(&input[0], &samples, 44_100);
    let options = ["--window", "sliding:0.4s", "--tail", "drop"];
    let [mert, wav2vec, hybrid] = ["mert", "wav2vec", "hybrid"].map(|encoder| {
        let config = models.config(encoder, "layer: 6", "layer: 9");
        models.rows(&config, &input, "out.npz", &options)
    });
    assert_eq!([&mert, &wav2vec, &hybrid].map(|(rows, _)| rows.values.len()), [1, 2, 1]);
    assert!(
        hybrid.1.contains("window 1 is left out") && hybrid.1.contains("at the rate of mert before"),
        "{}",
        hybrid.1
    );
    assert!(!mert.1.contains("left out"), "{}", mert.1);
}

#[test]
fn combinations_without_a_meaning_are_refused() {
    let models = Models::new();
    let (input, output) = (track("16-44k1-stereo.flac"), models.path("out.npz"));
    let refused = |config: &Path, options: &[&str], words: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--config", &config, &input, &"-o", &output];
        arguments.extend(options.iter().map(|option| option as &dyn AsRef<std::ffi::OsStr>));
        let (status, said) = embed(&arguments);
        assert_eq!(status, 2, "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
        assert!(!output.exists());
    };
    let config = models.config("hybrid", "layer: 6", "layer: 9");
    for option in [&["--layers", "6"][..], &["--model", "x.safetensors"], &["--project", "final_proj"]] {
        refused(&config, option, &[option[0], "encoder: hybrid"]);
    }
    // The windows of the two rates would drift apart.
    refused(&config, &["--window", "sliding:0.4s/0.1001s"], &["24000 and 16000 Hz", "0.125 ms"]);
    let config = models.config("hybrid", "layer: 6, aggregation: none", "layer: 9");
    refused(&config, &[], &["mert is pooled by none and wav2vec by mean"]);
    let config = models.config("hybrid", "layer: 6", "layer: 13");
    refused(&config, &[], &["wav2vec.layer: hidden state 13 does not exist"]);
    let config = models.config("hybrid", "layer: 6", "layer: 9, aggregation: median");
    refused(&config, &[], &["wav2vec.aggregation: unknown pooling `median`"]);
}
