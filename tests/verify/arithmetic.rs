//! bf16 and int8 on the CPU: every family within the gate's limits, no time for a pass that computes something else, the choice
//! of `--fast`, and the instruction sets.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use mert_arch::{ComputeType, Dtype, Layout};
use mert_testkit::{FamilyFixture, fixture};
use mert_verify::candidate::ComputeOptions;
use mert_verify::gate::ModelVerdict;
use mert_verify::{ArithmeticVerdict, Check};
use tempfile::TempDir;

use crate::common::{arg, convert, mert_verify};

fn judge(model: &Path, reference: PathBuf, compute: ComputeType) -> ModelVerdict {
    let check = Check {
        model: model.to_path_buf(),
        references: vec![reference],
        compute: ComputeOptions { dtype: Some(compute), ..ComputeOptions::default() },
        ..Check::default()
    };
    check.run().unwrap()
}

#[test]
fn every_family_passes_in_bf16_and_int8() {
    let folder = TempDir::new().unwrap();
    for family in FamilyFixture::all() {
        let file = convert(&family.checkpoint(folder.path()).unwrap(), &folder, Dtype::F32, Layout::Torch);
        for compute in [ComputeType::BF16, ComputeType::Int8] {
            let verdict = judge(&file, family.reference(), compute);
            assert!(verdict.passed(), "{} in {compute}: {verdict:#?}", family.name);
            assert!(!verdict.structure_judged(), "{} in {compute}: rounding hides the structure", family.name);
        }
    }
}

/// The voice model takes samples that are not normalised, and 8 bits are not enough for it.
#[test]
fn int8_that_is_not_exact_enough_fails_the_gate_and_is_not_timed() {
    let folder = TempDir::new().unwrap();
    let file = convert(&fixture("voice-conversion/pytorch_model.bin"), &folder, Dtype::F32, Layout::Torch);
    let reference = fixture("voice-conversion/reference.npz");
    assert!(!judge(&file, reference.clone(), ComputeType::Int8).passed());
    assert!(judge(&file, reference, ComputeType::BF16).passed());
    // Every clip is judged: on the one of 5 s it is just within the limits.
    let (code, out, err) = mert_verify(&["bench", arg(&file), "--dtype", "int8", "--seconds", "5,1", "--runs", "1"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("on the clip of 1 s"), "{err}");
    assert!(err.contains("does not compute what it computes in f32") && err.contains("nothing was timed"), "{err}");
}

#[test]
fn a_benchmark_states_how_exact_its_arithmetic_is() {
    let model = fixture("mert-tiny/model.safetensors");
    for (dtype, least) in [("bf16", 0.9998), ("int8", 0.999)] {
        let (code, out, err) = mert_verify(&["bench", arg(&model), "--dtype", dtype, "--runs", "1", "--json"]);
        assert_eq!(code, 0, "{err}");
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["dtype"], dtype);
        assert!(report["against_f32"]["pooled_cosine"].as_f64().unwrap() > least, "{out}");
        assert!(report["against_f32"]["nmse"].as_f64().unwrap() > 1e-6, "{dtype} computes in f32: {out}");
    }
    let (_, out, _) = mert_verify(&["bench", arg(&model), "--runs", "1", "--json"]);
    assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["against_f32"].is_null());
}

fn embed(cache: &TempDir, output: &Path, extra: &[&str]) -> (i32, String) {
    let run = Command::cargo_bin("mert-embed")
        .unwrap()
        .env("MERT_CACHE", cache.path())
        .arg(fixture("mert-tiny/model.safetensors"))
        .arg(fixture("audio/16-16k-5.1.flac"))
        .args(["-o", arg(output), "--force"])
        .args(extra)
        .output()
        .unwrap();
    (run.status.code().unwrap(), String::from_utf8(run.stderr).unwrap())
}

/// A file's bytes as text, in which its metadata can be found.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

#[test]
fn fast_measures_once_says_what_it_chose_and_records_it() {
    let cache = TempDir::new().unwrap();
    let output = cache.path().join("table.safetensors");
    let (code, first) = embed(&cache, &output, &["--fast"]);
    assert_eq!(code, 0, "{first}");
    assert!(first.contains("--fast computes in") && first.contains("measured now"), "{first}");
    let (_, second) = embed(&cache, &output, &["--fast"]);
    assert!(second.contains("measured in an earlier run"), "{second}");
    // The remembered choice is that of a measurement of this file, and the output names it.
    let chosen = second.split("--fast computes in ").nth(1).unwrap().split([',', ':', ' ']).next().unwrap();
    let written = text(&output);
    assert!(written.contains(&format!("{chosen} on cpu")), "{chosen}: {written}");
    let (code, refused) = embed(&cache, &output, &["--fast", "--dtype", "f32"]);
    assert_eq!(code, 2, "{refused}");
}

#[test]
fn f32_stays_the_default() {
    let cache = TempDir::new().unwrap();
    let output = cache.path().join("table.safetensors");
    let (code, said) = embed(&cache, &output, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("--fast"), "{said}");
    assert!(text(&output).contains("f32 on cpu"));
}

/// Each instruction set that the processor has gives hidden states within f32's rounding of the others', in every arithmetic.
#[test]
fn instruction_sets_agree_and_an_unknown_one_is_refused() {
    let folder = TempDir::new().unwrap();
    let model = fixture("mert-tiny/model.safetensors");
    let bench = |isa: &str, dtype: &str| {
        let mut command = Command::cargo_bin("mert-verify").unwrap();
        let reference = fixture("mert-tiny/reference.npz");
        let arguments = [arg(&model), "--reference", arg(&reference), "--layers", "all", "--dtype", dtype];
        command.env("MERT_ISA", isa).current_dir(folder.path()).args(arguments).output().unwrap()
    };
    for dtype in ["f32", "bf16", "int8"] {
        for isa in ["", "portable", if cfg!(target_arch = "x86_64") { "avx2" } else { "" }] {
            let run = bench(isa, dtype);
            assert_eq!(run.status.code(), Some(0), "{isa} {dtype}: {run:?}");
        }
    }
    let run = bench("sse9", "f32");
    assert_eq!(run.status.code(), Some(2));
    let message = String::from_utf8(run.stderr).unwrap();
    assert!(message.contains("MERT_ISA is \"sse9\"") && message.contains("portable"), "{message}");
}

#[test]
fn the_verdict_on_an_arithmetic_needs_every_hidden_state() {
    let file = fixture("mert-tiny/model.safetensors");
    let open = |compute: ComputeType| {
        mert_runtime::Model::open(&file, compute, &mert_runtime::candle_core::Device::Cpu).unwrap()
    };
    let clip = mert_audio::music_like(24_000, 24_000);
    let verdict = ArithmeticVerdict::of(&open(ComputeType::Int8), &open(ComputeType::F32), &clip).unwrap();
    assert!(verdict.passed(), "{:?}", verdict.failure());
    assert_eq!(verdict.layers.len(), 13);
    assert!(verdict.pooled_cosine() > 0.999 && verdict.nmse() > 1e-5 && verdict.frame_cosine() < 0.99999);
    let nothing = ArithmeticVerdict { layers: Vec::new(), ..verdict };
    assert!(!nothing.passed());
}
