//! Core ML packages end to end: written, read back from their bytes, run and judged.

use std::path::{Path, PathBuf};

use mert_arch::{Dtype, Layout};
use mert_convert::write::CoreMlOptions;
use mert_testkit::protobuf::packed;
use mert_testkit::{CoreMlPackage, FamilyFixture, fixture};
use mert_verify::Reference;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{arg, convert, convert_coreml, json, mert_verify, reference};

/// The length of each fixture's reference in seconds: alone, in a list and in a range.
const VARIANTS: [(&str, [&str; 3]); 3] = [
    ("mert-tiny", ["1", "2,1", "0.1-1"]),
    ("stable-layer-norm", ["1.0076875", "0.5,1.0076875", "1-2"]),
    ("deepnorm", ["0.666125", "0.666125,3", "0.2-30"]),
];

fn options(seconds: &str, target: &str) -> CoreMlOptions {
    CoreMlOptions {
        lengths: seconds.parse().unwrap(),
        minimum_deployment: target.parse().unwrap(),
        ..CoreMlOptions::default()
    }
}

fn tiny(folder: &TempDir, options: &CoreMlOptions) -> PathBuf {
    convert_coreml(&fixture("mert-tiny/pytorch_model.bin"), folder, Dtype::F16, options)
}

/// Runs the gate and returns its exit status, output and report.
fn verified(package: &Path, reference: &Path, extra: &[&str]) -> (i32, String, Value) {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.json");
    let mut args = vec![arg(package), "--reference", arg(reference), "--json", arg(&report)];
    args.extend(extra);
    let (code, out, err) = mert_verify(&args);
    (code, out + &err, json(&report))
}

/// The largest NMSE of each comparison, by its question and output.
fn worst(report: &Value) -> Vec<(String, f64)> {
    let comparisons = report["models"][0]["comparisons"].as_array().unwrap();
    let nmse = |comparison: &Value| {
        let layers = comparison["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["metrics"]["nmse"].as_f64().unwrap()).fold(0.0, f64::max)
    };
    let name = |c: &Value| format!("{} {}", c["question"].as_str().unwrap(), c["output"].as_str().unwrap());
    comparisons.iter().map(|comparison| (name(comparison), nmse(comparison))).collect()
}

fn nmse(report: &Value, name: &str) -> f64 {
    worst(report).into_iter().find(|(found, _)| found == name).unwrap().1
}

#[test]
fn every_variant_length_type_and_target_computes_what_pytorch_computes() {
    let folder = TempDir::new().unwrap();
    for (name, lengths) in VARIANTS {
        let reference = fixture(&format!("{name}/reference.npz"));
        for dtype in [Dtype::F16, Dtype::F32] {
            for (i, target) in ["ios15", "ios16", "ios17", "ios18"].iter().enumerate() {
                let seconds = lengths[i % 3];
                let options = CoreMlOptions { frames: true, ..options(seconds, target) };
                let package = convert_coreml(&fixture(&format!("{name}/pytorch_model.bin")), &folder, dtype, &options);
                let (code, output, report) = verified(&package, &reference, &["--require-structure"]);
                assert_eq!(code, 0, "{name} {dtype} {target} {seconds}: {output}");
                for kind in ["structure pooled", "structure frames"] {
                    let nmse = nmse(&report, kind);
                    println!("{name} {dtype} {target} --seconds {seconds}: {kind} {nmse:.1e}");
                    // The required accuracy; the gate's own limit is 1e-9.
                    assert!(nmse <= if dtype == Dtype::F16 { 1e-8 } else { 1e-9 }, "{nmse:e}");
                }
                assert_eq!(worst(&report).len(), if dtype == Dtype::F16 { 4 } else { 2 });
                assert_eq!(report["models"][0]["format"], "mlpackage");
            }
        }
    }
}

/// Every family and form, on every target, where the number of frames is fixed and where it is not.
#[test]
fn every_family_computes_what_its_class_computes() {
    let folder = TempDir::new().unwrap();
    for family in FamilyFixture::all() {
        let checkpoint = family.checkpoint(folder.path()).unwrap();
        let preprocessor = json(&family.config_file().with_file_name("preprocessor_config.json"));
        let samples = Reference::read(&family.reference()).unwrap().input_values.len();
        let exact = samples as f64 / preprocessor["sampling_rate"].as_f64().unwrap();
        let lengths =
            [format!("{exact}"), format!("{},{exact}", 2.0 * exact), format!("{}-{}", 0.7 * exact, 3.0 * exact)];
        for (i, target) in ["ios15", "ios16", "ios17", "ios18"].iter().enumerate() {
            for (dtype, seconds) in [(Dtype::F16, &lengths[i % 3]), (Dtype::F32, &lengths[(i + 1) % 3])] {
                let options = CoreMlOptions { frames: true, ..options(seconds, target) };
                let package = convert_coreml(&checkpoint, &folder, dtype, &options);
                let (code, output, report) = verified(&package, &family.reference(), &[]);
                assert_eq!(code, 0, "{} {dtype} {target} {seconds}: {output}", family.name);
                // The generated fixtures have no hidden states of PyTorch with f16 weights, as nothing that large is kept.
                let structure =
                    worst(&report).into_iter().filter(|(name, _)| name.starts_with("structure")).collect::<Vec<_>>();
                assert_eq!(
                    structure.len(),
                    if dtype == Dtype::F32 || is_kept(&checkpoint) { 2 } else { 0 },
                    "{output}"
                );
                for (kind, nmse) in structure {
                    println!("{} {dtype} {target} --seconds {seconds}: {kind} {nmse:.1e}", family.name);
                    assert!(nmse <= 1e-10, "{} {dtype} {target} {seconds}: {kind} {nmse:e}", family.name);
                }
            }
        }
    }
}

/// Whether a fixture's checkpoint is in the repository.
fn is_kept(checkpoint: &Path) -> bool {
    checkpoint.starts_with(fixture("families"))
}

/// Another converter writes the same network in other operations.
#[test]
fn packages_that_coremltools_made_of_the_pytorch_model_agree_too() {
    for name in ["mert-tiny-coremltools", "mert-tiny-coremltools-ios18"] {
        let package = fixture(&format!("coreml/{name}.mlpackage"));
        let (code, output, report) = verified(&package, &reference(), &["--require-structure"]);
        assert_eq!(code, 0, "{output}");
        assert_eq!(worst(&report).len(), 4, "{output}");
        assert!(nmse(&report, "structure frames") < 1e-10, "{output}");
    }
}

#[test]
fn the_weights_are_those_of_a_safetensors_file_to_the_bit() {
    let folder = TempDir::new().unwrap();
    for dtype in [Dtype::F16, Dtype::F32] {
        for name in ["mert-tiny", "stable-layer-norm"] {
            let checkpoint = fixture(&format!("{name}/pytorch_model.bin"));
            let bytes = std::fs::read(convert(&checkpoint, &folder, dtype, Layout::Torch)).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let package = convert_coreml(&checkpoint, &folder, dtype, &CoreMlOptions::default());
            let mut package = CoreMlPackage::read(&package).unwrap();
            let mut widened = Vec::new();
            for (tensor, view) in file.iter() {
                let data = package.data(&tensor.replace('.', "_"));
                let stored = &package.weights[data];
                if stored.len() == view.data().len() {
                    assert_eq!(stored, view.data(), "{name} {dtype} {tensor}");
                    continue;
                }
                let halves = view.data().as_chunks().0.iter();
                let floats: Vec<u8> =
                    halves.flat_map(|&half| half::f16::from_le_bytes(half).to_f32().to_le_bytes()).collect();
                assert_eq!(stored, floats, "{name} {dtype} {tensor}");
                widened.push(tensor.to_string());
            }
            widened.sort();
            // In a package of half precision the first convolution and its norm compute in f32.
            let first = "feature_extractor.conv_layers.0.";
            assert!(widened.iter().all(|tensor| tensor.starts_with(first)), "{widened:?}");
            let expected = match (dtype, name) {
                (Dtype::F32, _) => 0,
                (_, "mert-tiny") => 3,
                _ => 4,
            };
            assert_eq!(widened.len(), expected, "{widened:?}");
        }
    }
}

#[test]
fn a_package_that_ends_at_a_layer_holds_nothing_above_it() {
    let folder = TempDir::new().unwrap();
    let package = |layers: &str| {
        let options = CoreMlOptions { layers: layers.parse().unwrap(), frames: true, ..options("1", "ios15") };
        tiny(&folder, &options)
    };
    for (layers, blobs, rows) in [("6", 209 - 6 * 16, 1), ("0", 17, 1), ("0,6,12", 209, 3), ("0-6", 209 - 6 * 16, 7)] {
        let path = package(layers);
        let mut taken_apart = CoreMlPackage::read(&path).unwrap();
        assert_eq!(taken_apart.weights[0], blobs as u8, "{layers}");
        let mut names = Vec::new();
        taken_apart.edit_operations(|operation| {
            names.push(operation.message(3).unwrap().text(1).unwrap().to_string());
        });
        let above = format!("encoder_layers_{}_", layers.rsplit(['-', ',']).next().unwrap());
        assert!(!names.iter().any(|name| name.starts_with(&above)), "{layers} has {above}");
        let (code, output, report) = verified(&path, &reference(), &["--require-structure"]);
        assert_eq!(code, 0, "{output}");
        for comparison in report["models"][0]["comparisons"].as_array().unwrap() {
            assert_eq!(comparison["layers"].as_array().unwrap().len(), rows);
        }
    }
    // The package's metadata names the hidden state of each row.
    let path = package("3,6");
    let (code, output, report) = verified(&path, &reference(), &["--layers", "6"]);
    assert_eq!(code, 0, "{output}");
    assert_eq!(report["models"][0]["comparisons"][0]["layers"][0]["layer"], 6);
    let (code, output, _) = verified(&path, &reference(), &["--layers", "5"]);
    assert_eq!(code, 2);
    assert!(output.contains("hidden state 5 is not returned: the model returns 3,6"), "{output}");
}

/// Emulation rounds every result, which increases the error, but not beyond the tolerance.
#[test]
fn emulation_shows_what_half_precision_costs() {
    let folder = TempDir::new().unwrap();
    let path = tiny(&folder, &CoreMlOptions { frames: true, ..options("1", "ios15") });
    let (code, output, exact) = verified(&path, &reference(), &[]);
    assert_eq!(code, 0, "{output}");
    let (code, output, emulated) = verified(&path, &reference(), &["--emulate", "float16"]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("ONLY THE ROUNDING"), "{output}");
    assert_eq!(worst(&emulated).len(), 2);
    let (before, after) = (nmse(&exact, "rounding frames"), nmse(&emulated, "rounding frames"));
    println!("rounding of the weights {before:.1e}, of everything {after:.1e}");
    assert!(after > 1.5 * before && after < 1e-4, "{before:e} {after:e}");
    let (code, output, _) = verified(&path, &reference(), &["--emulate", "f16", "--require-structure"]);
    assert_eq!(code, 1, "{output}");
    // In f32 there is nothing to round.
    let path = convert_coreml(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F32, &options("1", "ios15"));
    let (code, output, report) = verified(&path, &reference(), &["--emulate", "f16", "--require-structure"]);
    assert_eq!(code, 0, "{output}");
    assert!(nmse(&report, "structure pooled") < 1e-9);
}

#[test]
fn options_that_do_not_apply_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = tiny(&folder, &options("2,3", "ios15"));
    let file = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F16, Layout::Mlx);
    let reference = reference();
    let (path, file, reference) = (arg(&path), arg(&file), arg(&reference));
    let clip = arg(Path::new(reference));
    let out = folder.path().join("h.npz");
    for (args, words) in [
        (vec![path, "--reference", reference], vec!["48000 or 72000 samples", "has 24000", "--seconds"]),
        (vec![path, "--reference", reference, "--dtype", "f16"], vec!["--dtype", "--emulate f16"]),
        (vec![path, "--reference", reference, "--isolate"], vec!["--isolate"]),
        (vec![path, "--reference", reference, "--engine", "pytorch"], vec!["unknown engine", "interpreter or coreml"]),
        (vec![path, "--reference", reference, "--engine", "interpreter", "--compute-units", "ane"], vec!["Core ML's"]),
        (
            vec![path, "--reference", reference, "--engine", "coreml", "--compute-units", "dsp"],
            vec!["all, cpu, gpu or ane"],
        ),
        (vec![path, "--reference", reference, "--emulate", "bf16"], vec!["expected f16"]),
        (vec![file, "--reference", reference, "--emulate", "f16"], vec!["for Core ML packages"]),
        (vec![file, "--reference", reference, "--engine", "interpreter"], vec!["for Core ML packages"]),
        (vec!["bench", path], vec!["can only be verified", ".safetensors"]),
        (vec!["hidden-states", path, "--input", clip, "--output", arg(&out)], vec!["can only be verified"]),
        (vec![path], vec!["nothing to compare it with"]),
    ] {
        let (code, out, err) = mert_verify(&args);
        assert_eq!(code, 2, "{args:?}: {out}{err}");
        for word in words {
            assert!(err.contains(word), "{args:?}: `{word}` is not in: {err}");
        }
    }
    #[cfg(not(all(target_os = "macos", feature = "coreml")))]
    {
        let (code, _, err) = mert_verify(&[path, "--reference", reference, "--engine", "coreml"]);
        assert_eq!(code, 2);
        assert!(err.contains("needs macOS and a build with --features coreml"), "{err}");
    }
}

#[test]
fn a_release_gate_accepts_packages_beside_files() {
    let folder = TempDir::new().unwrap();
    tiny(&folder, &options("1", "ios18"));
    convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F32, Layout::Mlx);
    std::fs::copy(reference(), folder.path().join("r.npz")).unwrap();
    let suite = folder.path().join("verify.yaml");
    let gate = |package: &str| {
        let yaml = format!(
            "models:\n  - {{model: f32-mlx.safetensors, references: [r.npz]}}\n  - {{model: f16.mlpackage, references: \
             [r.npz]{package}}}\n"
        );
        std::fs::write(&suite, yaml).unwrap();
        let junit = folder.path().join("gate.xml");
        let (code, out, err) = mert_verify(&["--config", arg(&suite), "--junit", arg(&junit)]);
        (code, out + &err, std::fs::read_to_string(&junit).unwrap_or_default())
    };
    let (code, output, junit) = gate(", require_structure: true");
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("mlpackage format") && output.contains("mlx format"), "{output}");
    assert!(junit.contains("structure, pooled") && junit.contains("structure, frames"), "{junit}");
    assert_eq!(gate(", emulate: f16, engine: interpreter").0, 0);
    assert_eq!(gate(", emulate: f16, require_structure: true").0, 1);
    for (wrong, word) in [
        (", emulate: f8", "cannot emulate"),
        (", engine: tpu", "unknown engine"),
        (", compute_units: ane", "choose the engine coreml"),
    ] {
        let (code, output, _) = gate(wrong);
        assert_eq!(code, 2);
        assert!(output.contains(word), "{output}");
    }
}

/// A package that claims several lengths but has one of them built in, which open extents do not reveal.
#[test]
fn a_length_that_is_built_in_is_found_with_references_of_that_length_only() {
    let folder = TempDir::new().unwrap();
    for seconds in ["0.5-2", "1,2"] {
        let honest = tiny(&folder, &options(seconds, "ios15"));
        let (code, output, _) = verified(&honest, &reference(), &["--require-structure"]);
        assert_eq!(code, 0, "{output}");
        assert!(output.contains("compared with PyTorch at 24000 only"), "{output}");

        let mut package = CoreMlPackage::read(&honest).unwrap();
        for layer in 0..12 {
            for projection in ["q", "k", "v"] {
                let name = format!("encoder_layers_{layer}_attention_{projection}_proj_split_shape");
                package.set_constant(&name, packed(&[1, 74, 4, 16]));
            }
            package.set_constant(&format!("encoder_layers_{layer}_attention_merge_shape"), packed(&[1, 74, 64]));
        }
        let wrong = folder.path().join("wrong.mlpackage");
        package.write(&wrong).unwrap();
        let (code, output, _) = verified(&wrong, &reference(), &[]);
        assert_eq!(code, 2, "--seconds {seconds}: {output}");
        assert!(output.contains("q_proj_split` (reshape)"), "{output}");
    }
}

#[test]
fn part_of_a_package_is_not_a_model() {
    let inner = fixture("coreml/mert-tiny-coremltools.mlpackage/Data/com.apple.CoreML/model.mlmodel");
    let reference = reference();
    let (code, _, err) = mert_verify(&[arg(&inner), "--reference", arg(&reference)]);
    assert_eq!(code, 2);
    assert!(err.contains("is part of a Core ML package: name the package"), "{err}");
}

/// A report may not replace part of a package.
#[test]
fn a_report_does_not_replace_a_package() {
    let folder = TempDir::new().unwrap();
    let path = tiny(&folder, &options("1", "ios15"));
    for inner in ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"] {
        let report = path.join(inner);
        let before = std::fs::read(&report).unwrap();
        let reference = reference();
        let (code, _, err) = mert_verify(&[arg(&path), "--reference", arg(&reference), "--json", arg(&report)]);
        assert_eq!(code, 2);
        assert!(err.contains("is an input"), "{err}");
        assert_eq!(std::fs::read(&report).unwrap(), before);
    }
}

/// libtorch computes a reference for a clip of each length that the package accepts.
#[cfg(feature = "tch")]
#[test]
fn libtorch_judges_each_length_that_a_package_accepts() {
    let folder = TempDir::new().unwrap();
    let checkpoint = fixture("mert-tiny/pytorch_model.bin");
    for (seconds, samples) in [
        ("2", vec![48_000]),
        ("1,3,2", vec![24_000, 72_000, 48_000]),
        ("1-6", vec![120_000, 71_278]),
        ("10-12.5", vec![240_000, 288_722]),
        ("0.1-2", vec![48_000, 2_400]),
    ] {
        let path = tiny(&folder, &options(seconds, "ios15"));
        let report = folder.path().join("report.json");
        let args = [arg(&path), "--checkpoint", arg(&checkpoint), "--require-structure", "--json", arg(&report)];
        let (code, out, err) = mert_verify(&args);
        assert_eq!(code, 0, "{out}{err}");
        let timings = json(&report)["models"][0]["timings"].clone();
        let found: Vec<u64> = timings.as_array().unwrap().iter().map(|t| t["samples"].as_u64().unwrap()).collect();
        assert_eq!(found, samples, "--seconds {seconds}");
    }
}
