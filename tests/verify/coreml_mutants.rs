//! The gate's sensitivity to defects in a Core ML package: honest packages pass, and every defect of the graph, its
//! types, its constants, the weights, the description or the manifest fails, through the real binary.

mod compressed;
mod constants;
mod edit;
mod families;
mod graph;
mod manifest;
mod types;
mod weights;

use std::path::{Path, PathBuf};

use mert_arch::Dtype;
use mert_convert::write::CoreMlOptions;
use mert_testkit::{CoreMlPackage, FamilyFixture, fixture};
use mert_verify::Reference;
use tempfile::TempDir;

use crate::common::{arg, convert_coreml, json, mert_verify, reference};
use edit::Fails::{Gate, With};
use edit::Mutant;

fn all() -> impl Iterator<Item = &'static Mutant> {
    [graph::GRAPH, types::TYPES, constants::CONSTANTS, weights::WEIGHTS, manifest::MANIFEST].into_iter().flatten()
}

fn honest(folder: &TempDir, seconds: &str) -> PathBuf {
    let options = CoreMlOptions { lengths: seconds.parse().unwrap(), ..CoreMlOptions::default() };
    convert_coreml(&fixture("mert-tiny/pytorch_model.bin"), folder, Dtype::F16, &options)
}

fn verify(package: &Path) -> (i32, String) {
    verify_with(package, &reference())
}

/// Runs the gate, whose report is then beside the package.
fn verify_with(package: &Path, reference: &Path) -> (i32, String) {
    let report = package.with_extension("json");
    let (code, out, err) =
        mert_verify(&[arg(package), "--layers", "all", "--reference", arg(reference), "--json", arg(&report)]);
    (code, out + &err)
}

/// The largest NMSE of the structure question in the report beside a package, for the table in `docs/sensitivity.md`.
fn worst(package: &Path) -> String {
    let layers = json(&package.with_extension("json"))["models"][0]["comparisons"][0]["layers"].clone();
    let nmse: Option<Vec<f64>> = layers.as_array().unwrap().iter().map(|l| l["metrics"]["nmse"].as_f64()).collect();
    nmse.map_or("not comparable".into(), |nmse| format!("{:.1e}", nmse.into_iter().fold(0.0, f64::max)))
}

#[test]
fn every_mutant_fails_as_it_should_and_the_honest_package_passes() {
    let folder = TempDir::new().unwrap();
    let honest = honest(&folder, "1");
    // Read and written again without a change: the editor itself does no harm.
    let rewritten = folder.path().join("rewritten.mlpackage");
    let package = CoreMlPackage::read(&honest).unwrap();
    package.write(&rewritten).unwrap();
    for package in [&honest, &rewritten] {
        let (code, output) = verify(package);
        assert_eq!(code, 0, "{output}");
    }

    let mutant = folder.path().join("mutant.mlpackage");
    let mut wrong = Vec::new();
    for (name, fails, mutate) in all() {
        let mut changed = package.clone();
        mutate(&mut changed);
        assert!(
            changed.model != package.model
                || changed.weights != package.weights
                || changed.manifest != package.manifest,
            "{name} changes nothing"
        );
        changed.write(&mutant).unwrap();
        let (code, output) = verify(&mutant);
        let (expected, word) = match fails {
            Gate => (1, "FAILED"),
            With(word) => (2, *word),
        };
        match fails {
            Gate => println!("| {name} | {} |", worst(&mutant)),
            With(_) => println!("{name}: {}", output.lines().last().unwrap_or_default()),
        }
        if code != expected || !output.contains(word) {
            wrong.push(format!("{name}: exit status {code}, expected {expected} with `{word}`:\n{output}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(all().count() >= 100, "{}", all().count());
}

/// The mechanisms that only some families have.
#[test]
fn every_mutant_of_a_family_fails_and_its_honest_package_passes() {
    let folder = TempDir::new().unwrap();
    let mutant = folder.path().join("mutant.mlpackage");
    for (family, target, mutants) in families::FAMILIES {
        let family = FamilyFixture::named(family);
        let reference = family.reference();
        let samples = Reference::read(&reference).unwrap().input_values.len();
        for seconds in [format!("{}", samples as f64 / 16_000.0), "0.04-0.1".to_string()] {
            let options = CoreMlOptions {
                lengths: seconds.parse().unwrap(),
                minimum_deployment: target.parse().unwrap(),
                frames: true,
                ..CoreMlOptions::default()
            };
            let honest = convert_coreml(&family.checkpoint(folder.path()).unwrap(), &folder, Dtype::F16, &options);
            let verify = |package: &Path| verify_with(package, &reference);
            let (code, output) = verify(&honest);
            assert_eq!(code, 0, "{}: {output}", family.name);
            println!("| {}, {target} | honest | {} |", family.name, worst(&honest));
            let package = CoreMlPackage::read(&honest).unwrap();
            for (name, mutate) in *mutants {
                let mut changed = package.clone();
                mutate(&mut changed);
                assert!(changed.model != package.model || changed.weights != package.weights, "{name} changes nothing");
                changed.write(&mutant).unwrap();
                let (code, output) = verify(&mutant);
                println!("| {}, {target} | {name} | {} |", family.name, worst(&mutant));
                assert!(
                    code == 1 && output.contains("FAILED"),
                    "{}, {name}, {seconds} s: {code}\n{output}",
                    family.name
                );
            }
        }
    }
}

/// With flexible lengths extents are open, so that fewer contradictions are found before the numbers are compared. A range and
/// a list leave the same extents open: the mutants take turns.
#[test]
fn every_mutant_fails_where_lengths_are_flexible() {
    let folder = TempDir::new().unwrap();
    for (turn, seconds) in ["0.5-2", "2,1"].into_iter().enumerate() {
        let honest = honest(&folder, seconds);
        let (code, output) = verify(&honest);
        assert_eq!(code, 0, "{output}");
        let package = CoreMlPackage::read(&honest).unwrap();
        let mutant = folder.path().join("mutant.mlpackage");
        for (name, fails, mutate) in all().skip(turn).step_by(2) {
            // These change extents that are open here.
            let open = [
                "the program's input of another length",
                "the described input of another length",
                "an extent left open",
            ];
            if open.contains(name) {
                continue;
            }
            let mut changed = package.clone();
            mutate(&mut changed);
            changed.write(&mutant).unwrap();
            let (code, output) = verify(&mutant);
            // A mutant that is refused with declared extents may fail by its numbers here, but not the other way round.
            let as_it_should = if matches!(fails, Gate) { code == 1 } else { code == 1 || code == 2 };
            assert!(as_it_should, "{name}, --seconds {seconds}: exit status {code}\n{output}");
        }
    }
}

/// A package that is truncated anywhere is refused.
#[test]
fn damaged_files_are_refused_and_never_crash() {
    let folder = TempDir::new().unwrap();
    let package = CoreMlPackage::read(&honest(&folder, "1")).unwrap();
    let model = package.model.encode();
    let mutant = folder.path().join("mutant.mlpackage");
    package.write(&mutant).unwrap();
    let path = mutant.join("Data/com.apple.CoreML/model.mlmodel");
    for i in 0..40 {
        let cut = model.len() * i / 40;
        std::fs::write(&path, &model[..cut]).unwrap();
        let (code, output) = verify(&mutant);
        assert_eq!(code, 2, "cut at {cut}: {output}");
        assert!(!output.contains("panicked"), "{output}");
    }
    let weights = mutant.join("Data/com.apple.CoreML/weights/weight.bin");
    std::fs::write(&path, &model).unwrap();
    for i in 0..20 {
        std::fs::write(&weights, &package.weights[..package.weights.len() * i / 20]).unwrap();
        let (code, output) = verify(&mutant);
        assert_eq!(code, 2, "weights cut at {i}/20: {output}");
    }
    std::fs::write(&weights, &package.weights).unwrap();
    // A flipped bit may fall into a text that nothing depends on; it must not cause a crash.
    for i in 0..150 {
        let mut bytes = model.clone();
        bytes[model.len() * i / 150] ^= 1 << (i % 8);
        std::fs::write(&path, &bytes).unwrap();
        let (code, output) = verify(&mutant);
        assert!((0..=2).contains(&code) && !output.contains("panicked"), "bit at {i}/150: {code}\n{output}");
    }
}
