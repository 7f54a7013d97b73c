//! Core ML packages: the protobuf messages of a program, as `mert-verify` reads, checks and runs it.

use std::path::Path;

use mert_testkit::fixture;
use mert_testkit::fuzz::{Seed, Target};
use mert_verify::candidate::{self, ComputeOptions, PackageOptions};

use super::{bounded, folder};

const PACKAGES: [&str; 2] = ["coreml/mert-tiny-coremltools.mlpackage", "coreml/mert-tiny-coremltools-ios18.mlpackage"];
const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";

/// A copy of a package whose program is written for each input.
fn copy(from: &Path, to: &Path) {
    for file in ["Manifest.json", "Data/com.apple.CoreML/weights/weight.bin"] {
        std::fs::create_dir_all(to.join(file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn protobuf() {
    let _alone = super::ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = folder();
    let package = folder.path().join("fuzzed.mlpackage");
    copy(&fixture(PACKAGES[0]), &package);
    let corpus = PACKAGES.map(|path| Seed::fixture(&format!("{path}/{MODEL}")));
    let run = |input: &Seed| {
        std::fs::write(package.join(MODEL), &input.bytes).map_err(|error| error.to_string())?;
        // The weights are mapped or read beside it: about a megabyte.
        bounded(input.bytes.len() + (1 << 20), || {
            let Ok(candidate) = candidate::open(&package, ComputeOptions::default(), PackageOptions::default()) else {
                return Ok(());
            };
            let samples = candidate.clip_lengths().and_then(|lengths| lengths.first().copied()).unwrap_or(2400);
            if samples <= 48_000 {
                let _ = candidate.run(&vec![0.25; samples], &candidate.hidden_states());
            }
            Ok(())
        })
    };
    Target { name: "protobuf", corpus: corpus.into(), repair: None, run: &run }.fuzz();
}
