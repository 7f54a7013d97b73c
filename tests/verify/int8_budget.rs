//! `mert-convert --int8-budget`: the modules that keep floats in 8-bit integers, from the measurement to the commands that compute
//! with them.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use mert_arch::{ComputeType, Dtype, Int8Exceptions};
use mert_checkpoint::Source;
use mert_convert::{Plan, PlanOptions, write};
use mert_runtime::ConvertedFile;
use mert_testkit::fixture;
use mert_verify::Check;
use mert_verify::candidate::ComputeOptions;
use mert_verify::gate::ModelVerdict;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{arg, mert_verify};

const LIMITS: &str = "pooled>=0.999,frame>=0.99";

fn convert(checkpoint: &Path, output: &Path, options: &[&str]) -> (i32, String, String) {
    let run = Command::cargo_bin("mert-convert").unwrap().arg(checkpoint).arg(output).args(options).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (run.status.code().unwrap(), text(run.stdout), text(run.stderr))
}

fn judge(model: &Path, reference: PathBuf) -> ModelVerdict {
    let compute = ComputeOptions { dtype: Some(ComputeType::Int8), ..ComputeOptions::default() };
    let check = Check { model: model.to_path_buf(), references: vec![reference], compute, ..Check::default() };
    check.run().unwrap()
}

fn exceptions(model: &Path) -> Option<Int8Exceptions> {
    ConvertedFile::open(model).unwrap().metadata().int8_exceptions.clone()
}

/// 8 bits in every module are not enough for the voice model; with the modules that the measurement chooses in floats they are.
#[test]
fn a_model_that_fails_in_int8_passes_with_the_chosen_modules_in_floats() {
    let folder = TempDir::new().unwrap();
    let (checkpoint, reference) =
        (fixture("voice-conversion/pytorch_model.bin"), fixture("voice-conversion/reference.npz"));
    let plain = folder.path().join("plain.safetensors");
    assert_eq!(convert(&checkpoint, &plain, &["--dtype", "f32", "--quiet"]).0, 0);
    assert_eq!(exceptions(&plain), None);
    let failed = judge(&plain, reference.clone());
    assert!(!failed.passed() && failed.notes.iter().any(|note| note.contains("no measurement")), "{failed:#?}");

    let chosen = folder.path().join("chosen.safetensors");
    let (code, out, err) = convert(&checkpoint, &chosen, &["--dtype", "f32", "--int8-budget", LIMITS, "--json"]);
    assert_eq!(code, 0, "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let modules = report["int8"]["modules"].as_array().unwrap();
    let floats: Vec<&Value> = modules.iter().filter(|module| module["compute"] != "int8").collect();
    assert!(!floats.is_empty() && floats.len() < modules.len(), "{out}");
    // The file has what the report says.
    let written = exceptions(&chosen).unwrap();
    assert_eq!(written.iter().count(), floats.len());
    for module in &floats {
        let dtype = written.of(module["module"].as_str().unwrap()).unwrap();
        assert_eq!(module["compute"], dtype.name());
    }
    let held_out = &report["int8"]["held_out"]["worst"];
    assert!(held_out["pooled_cosine"].as_f64().unwrap() >= 0.999, "{out}");
    assert!(report["int8"]["all_int8"]["pooled_cosine"].as_f64() < held_out["pooled_cosine"].as_f64(), "{out}");
    let shares: f64 = modules.iter().map(|module| module["share"].as_f64().unwrap()).sum();
    assert!((shares + report["int8"]["attention_share"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{out}");

    // The gate, the benchmark and mert-embed compute with it, and say so.
    let passed = judge(&chosen, reference);
    assert!(passed.passed(), "{passed:#?}");
    assert!(passed.notes.iter().any(|note| note.contains("keep floats, as the file says")), "{:?}", passed.notes);
    let (code, out, err) = mert_verify(&["bench", arg(&chosen), "--dtype", "int8", "--seconds", "1", "--runs", "1"]);
    assert_eq!(code, 0, "{err}");
    let first = written.iter().next().unwrap().0;
    assert!(out.contains("keep floats, as the file says") && out.contains(first), "{out}");
    let embedded = Command::cargo_bin("mert-embed")
        .unwrap()
        .env("MERT_CACHE", folder.path())
        .args([arg(&chosen), arg(&fixture("audio/16-16k-5.1.flac")), "-o", arg(&folder.path().join("t.safetensors"))])
        .args(["--dtype", "int8"])
        .output()
        .unwrap();
    let said = String::from_utf8(embedded.stderr).unwrap();
    assert!(embedded.status.success() && said.contains(first), "{said}");

    // Any number of threads chooses the same, in a folder too.
    let again = folder.path().join("folder");
    let options = ["--dtype", "f32", "--int8-budget", LIMITS, "--threads", "1"];
    let (code, _, err) = convert(&checkpoint, &again, &options);
    assert_eq!(code, 0, "{err}");
    let card = std::fs::read_to_string(again.join("README.md")).unwrap();
    assert!(card.contains("## Modules in 8-bit integers") && card.contains(first), "{card}");
    assert_eq!(exceptions(&again.join("model.safetensors")), Some(written.clone()));
}

#[test]
fn a_model_that_holds_the_limits_keeps_no_floats() {
    let folder = TempDir::new().unwrap();
    let output = folder.path().join("model.safetensors");
    let options = ["--int8-budget", "pooled>=0.99,frame>=0.9"];
    let (code, out, err) = convert(&fixture("mert-tiny/pytorch_model.bin"), &output, &options);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("100.0 % of the multiply-adds with weights"), "{out}");
    assert_eq!(exceptions(&output), Some(Int8Exceptions::default()));
    // What every module multiplies does not depend on whether it was measured.
    let notes = judge(&output, fixture("mert-tiny/reference.npz")).notes;
    assert!(notes.iter().any(|note| note.contains("int8: in every module, as the file says")), "{notes:?}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let folder = TempDir::new().unwrap();
    let checkpoint = fixture("mert-tiny/pytorch_model.bin");
    for (output, limits, words) in [
        ("a.gguf", LIMITS, "--int8-budget writes its choice to the metadata"),
        ("a.mlpackage", LIMITS, "--int8-budget writes its choice to the metadata"),
        ("a.safetensors", "nmse<=1e-9", "cannot be held: with every module in f32 and attention in bf16"),
        ("a.safetensors", "pooled<=1", "expected pooled>=NUMBER"),
    ] {
        let output = folder.path().join(output);
        let (code, _, err) = convert(&checkpoint, &output, &["--int8-budget", limits]);
        assert!(code == 2 && err.contains(words), "{limits}: {err}");
        assert!(!output.exists());
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let (code, _, err) = convert(&fixture("musicgen/plain"), &folder.path().join("b"), &["--int8-budget", LIMITS]);
    assert!(code == 2 && err.contains("--int8-budget"), "{err}");

    // A list that does not fit the model is refused when it is loaded, whatever the arithmetic.
    let source = Source::open(&checkpoint).unwrap();
    for (module, dtype, words) in [
        ("encoder.layers.99.attention", Dtype::Bf16, "does not have a module"),
        ("encoder.layers.0.attention", Dtype::F16, "expected bf16 or f32"),
    ] {
        let int8_exceptions = Some(Int8Exceptions::new([(module.to_string(), dtype)]));
        let plan = Plan::new(&source, &PlanOptions { int8_exceptions, ..PlanOptions::default() }).unwrap();
        let model = folder.path().join("model.safetensors");
        write::safetensors(&plan, &source, &model, true, &|_| {}).unwrap();
        let error = ConvertedFile::open(&model).err().unwrap().to_string();
        assert!(error.contains("int8_exceptions") && error.contains(words), "{error}");
    }
}
