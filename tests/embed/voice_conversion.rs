//! Features as voice conversion takes them, beside transformers' and torch's by RVC's definition
//! (`scripts/fixtures/make_voice.py`): samples as they are in the file, hidden state 9 through `final_proj` (v1), hidden
//! state 12 as it is (v2), an array for each file.

use std::fs;
use std::path::{Path, PathBuf};

use mert_embed::{Embedder, Normalization, Pool, Projection, StreamingEmbedder, StreamingOptions};
use mert_runtime::{DeviceKind, Dtype, Model};
use mert_table::TableReader;
use mert_testkit::{ConvertedModel, fixture};
use serde_json::Value;
use tempfile::TempDir;

use crate::voice::{Array, convert, embed, error, read_npy, reference, write_wav};

/// f32 arithmetic in another order than PyTorch's: a few units in the last place of each value.
const SAME: f64 = 1e-10;

/// Any mistake in the layer, the projection or the samples is far above this.
const OTHER: f64 = 1e-3;

/// A folder with the converted model, which keeps `final_proj`, and a recording.
struct Voice {
    folder: TempDir,
    model: PathBuf,
    take: PathBuf,
}

impl Voice {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let model =
            convert(&fixture("voice-conversion"), &folder.path().join("model.safetensors"), &["--keep", "final_proj"]);
        let take = folder.path().join("take 1.wav");
        write_wav(&take, &reference("input_values").values, 16_000);
        Voice { folder, model, take }
    }

    /// The features of the recording with `model` and further options.
    fn features(&self, model: &Path, options: &[&str]) -> Array {
        let output = self.folder.path().join("features");
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![
            &model,
            &self.take,
            &"-o",
            &output,
            &"--per-file",
            &"--window",
            &"whole",
            &"--pool",
            &"none",
            &"--force",
        ];
        arguments.extend(options.iter().map(|option| option as &dyn AsRef<std::ffi::OsStr>));
        let (status, said) = embed(&arguments);
        assert_eq!(status, 0, "{said}");
        let names: Vec<_> = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["take 1.npy"], "nothing but arrays is in the folder");
        read_npy(&output.join("take 1.npy"))
    }
}

#[test]
fn both_versions_equal_their_reference() {
    let voice = Voice::new();
    for (options, name) in [(&["--layers", "9", "--project", "final_proj"][..], "v1"), (&["--layers", "12"], "v2")] {
        let (found, expected) = (voice.features(&voice.model, options), reference(name));
        assert_eq!(found.shape, expected.shape);
        assert!(error(&found.values, &expected.values) < SAME, "{name}: {:e}", error(&found.values, &expected.values));
    }
}

/// What goes wrong in practice shows in the reference.
#[test]
fn mutants_differ_from_the_reference() {
    let voice = Voice::new();
    let v1 = reference("v1").values;
    let differs = |found: Array, what: &str| {
        let nmse = error(&found.values, &v1);
        assert!(nmse > OTHER, "{what}: {nmse:e}");
    };
    let options = |layer: &'static str| ["--layers", layer, "--project", "final_proj"];
    differs(voice.features(&voice.model, &options("8")), "another layer");
    let path = voice.folder.path().join("mutant.safetensors");
    convert(&fixture("voice-conversion"), &path, &["--keep", "final_proj", "--do-normalize", "true"]);
    differs(voice.features(&path, &options("9")), "normalised samples");
    let edited = |change: &dyn Fn(&mut ConvertedModel), what: &str| {
        let mut model = ConvertedModel::read(&voice.model).unwrap();
        change(&mut model);
        model.write(&path).unwrap();
        differs(voice.features(&path, &options("9")), what);
    };
    edited(&|model| model.tensor("final_proj.bias").values.fill(0.0), "no bias");
    edited(&|model| model.tensor("final_proj.weight").values.rotate_left(24), "rows of the weight rotated");
}

/// Projected, then pooled: the mean of the projected frames, which for a linear map is the projected mean.
#[test]
fn pooling_follows_the_projection() {
    let voice = Voice::new();
    let output = voice.folder.path().join("table.npz");
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 12] = [
        &voice.model,
        &voice.take,
        &"-o",
        &output,
        &"--layers",
        &"8,9",
        &"--project",
        &"final_proj",
        &"--pool",
        &"mean+std",
        &"--window",
        &"whole",
    ];
    let (status, said) = embed(&arguments);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("through final_proj, 40 values each"), "{said}");
    let mut table = TableReader::open(&output).unwrap();
    let mut rows = Vec::new();
    let read = table.for_each_row(|row| {
        rows.push(row.values.to_vec());
        Ok::<(), mert_table::TableError>(())
    });
    read.unwrap();
    assert_eq!((rows.len(), rows[0].len()), (1, 80));
    let v1 = reference("v1");
    assert!(error(&rows[0][40..60], &v1.mean()) < SAME);
    // The largest deviation is that of the projected frames, not of the hidden state.
    let mean = v1.mean();
    let variance =
        |i: usize| v1.values.iter().skip(i).step_by(20).map(|&x| (f64::from(x) - mean[i]).powi(2)).sum::<f64>();
    let deviations: Vec<f64> = (0..20).map(|i| (variance(i) / v1.shape[0] as f64).sqrt()).collect();
    assert!(error(&rows[0][60..], &deviations) < SAME);
}

/// Half-precision arithmetic is candle's engine; the projection is the same.
#[test]
fn the_other_engine_projects_alike() {
    let voice = Voice::new();
    let found = voice.features(&voice.model, &["--layers", "9", "--project", "final_proj", "--dtype", "bf16"]);
    let nmse = error(&found.values, &reference("v1").values);
    // bf16 has 8 bits: relative errors of 2e-3 that add up over nine layers.
    assert!(nmse > 1e-7 && nmse < 1e-2, "{nmse:e}");
}

#[test]
fn live_sound_is_projected_too() {
    let voice = Voice::new();
    let model = Model::open(&voice.model, Dtype::F32, &DeviceKind::Cpu.open().unwrap()).unwrap();
    let embedder = Embedder::new(model, &"9".parse().unwrap(), Pool::None, Normalization::None).unwrap();
    let embedder = embedder.project(Projection::FinalProj).unwrap();
    let seconds = "600ms".parse().unwrap();
    let options = StreamingOptions { input_rate: 16_000, window: seconds, hop: seconds };
    let mut stream = StreamingEmbedder::new(embedder, options).unwrap();
    let mut found = Vec::new();
    for block in reference("input_values").values.chunks(160) {
        stream.push(block, |window| found.extend_from_slice(window.values.unwrap())).unwrap();
    }
    assert!(error(&found, &reference("v1").values) < SAME);
}

#[test]
fn the_settings_are_recorded_beside_the_folder() {
    let voice = Voice::new();
    voice.features(&voice.model, &["--layers", "9", "--project", "final_proj"]);
    let record = fs::read(voice.folder.path().join("features.provenance.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    let settings = &record["settings"];
    assert_eq!((&settings["projection"], &settings["dim"]), (&"final_proj".into(), &20.into()));
    assert_eq!((&settings["sample_rate"], &settings["do_normalize"]), (&16_000.into(), &false.into()));
    assert_eq!(settings["hidden_states"], serde_json::json!([9]));
    let file = &record["files"][0];
    assert_eq!((&file["npy"], &file["rows"]), (&"take 1.npy".into(), &29.into()));
    assert!(file["file"].as_str().unwrap().ends_with("take 1.wav"));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let voice = Voice::new();
    let at = |name: &str| voice.folder.path().join(name);
    let plain = convert(&fixture("voice-conversion"), &at("plain.safetensors"), &[]);
    let output = at("out");
    let refused = |arguments: &[&dyn AsRef<std::ffi::OsStr>], words: &[&str]| {
        let (status, said) = embed(arguments);
        assert_eq!(status, 2, "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
    };
    let project: [&dyn AsRef<std::ffi::OsStr>; 6] = [&plain, &voice.take, &"-o", &output, &"--project", &"final_proj"];
    refused(&[&project[..], &[&"--per-file"]].concat(), &["no final_proj", "mert-convert --keep final_proj"]);
    assert!(!output.exists());
    // Two inputs of one name.
    fs::create_dir(at("other")).unwrap();
    fs::copy(&voice.take, at("other/take 1.wav")).unwrap();
    let other = at("other");
    refused(&[&plain, &voice.take, &other, &"-o", &output, &"--per-file"], &["take 1.npy", "other/take 1.wav"]);
    // Standard input has no name.
    refused(
        &[&plain, &"-", &"--input-rate", &"16000", &"--window", &"whole", &"-o", &output, &"--per-file"],
        &["standard input"],
    );
    // An array that is there, and a file in the folder's place.
    fs::create_dir(&output).unwrap();
    fs::write(output.join("take 1.npy"), "mine").unwrap();
    refused(&[&plain, &voice.take, &"-o", &output, &"--per-file"], &["take 1.npy exists", "--force"]);
    assert_eq!(fs::read(output.join("take 1.npy")).unwrap(), b"mine");
    let file = output.join("take 1.npy");
    refused(&[&plain, &voice.take, &"-o", &file, &"--per-file"], &["it is a file"]);
    refused(&[&plain, &voice.take, &"-o", &output, &"--per-file", &"--update"], &["--update"]);
}

/// An input that cannot be embedded has no array, and the exit status says so.
#[test]
fn files_that_fail_are_left_out() {
    let voice = Voice::new();
    let (broken, output) = (voice.folder.path().join("broken.wav"), voice.folder.path().join("out"));
    fs::write(&broken, "RIFF").unwrap();
    let (status, said) = embed(&[&voice.model, &broken, &voice.take, &"-o", &output, &"--per-file"]);
    assert_eq!(status, 1, "{said}");
    assert!(output.join("take 1.npy").exists() && !output.join("broken.npy").exists());
    assert!(!voice.folder.path().join("out.journal").exists());
}
