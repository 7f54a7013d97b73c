//! The head `final_proj` in converted files: `mert-convert --keep final_proj`.

use std::fs;

use mert_checkpoint::Source;
use mert_testkit::{ConvertedModel, fixture};
use serde_json::Value;

use crate::scratch::{Scratch, mert_convert};

/// The head's tensors are the checkpoint's, which are f16 already; the file says that it has them.
#[test]
fn it_is_kept_on_request_and_recorded() {
    let scratch = Scratch::new();
    let input = fixture("voice-conversion");
    let message = scratch.convert(&input, &[]);
    assert!(message.contains("dropped      final_proj.weight: belongs to a task head"), "{message}");
    let without = ConvertedModel::read(&scratch.path("out.safetensors")).unwrap();
    assert_eq!(without.metadata.final_proj, None);

    let message = scratch.convert(&input, &["--keep", "final_proj", "--force"]);
    assert!(message.contains("kept         final_proj, 24 to 20 values a frame"), "{message}");
    assert!(!message.contains("dropped      final_proj"), "{message}");
    let kept = ConvertedModel::read(&scratch.path("out.safetensors")).unwrap();
    assert_eq!((kept.metadata.final_proj, kept.tensors.len()), (Some(20), without.tensors.len() + 2));
    let source = Source::open(&input.join("pytorch_model.bin")).unwrap();
    for (name, shape) in [("final_proj.weight", &[20, 24][..]), ("final_proj.bias", &[20])] {
        let stored = source.checkpoint().read(name).unwrap();
        let expected: Vec<f32> =
            stored.as_chunks().0.iter().map(|&bytes| half::f16::from_le_bytes(bytes).to_f32()).collect();
        assert_eq!((&kept.tensors[name].shape[..], &kept.tensors[name].values), (shape, &expected), "{name}");
    }
    // The encoder is the same.
    assert!(without.tensors.iter().all(|(name, tensor)| kept.tensors[name] == *tensor));
}

#[test]
fn the_plan_shows_it() {
    let scratch = Scratch::new();
    let run = mert_convert(
        &fixture("voice-conversion"),
        &scratch.path("out.safetensors"),
        &["--keep", "final_proj", "--dry-run", "--json"],
    );
    let plan = &serde_json::from_str::<Value>(&run.stdout).unwrap()["plan"];
    assert_eq!(plan["final_proj"], 20);
    let steps = plan["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["name"] == "final_proj.weight" && step["role"] == "linear"));
}

#[test]
fn a_checkpoint_without_it_is_refused() {
    let scratch = Scratch::new();
    let keep = ["--keep", "final_proj"];
    scratch.refused(
        &fixture("mert-tiny/pytorch_model.bin"),
        &keep,
        &["--keep final_proj: the checkpoint has no `final_proj.weight`"],
    );
    let words = ["missing tensor `final_proj.weight`"];
    scratch.refused(&fixture("voice-conversion"), &["--keep", "final_proj", "--drop", "final_proj.weight"], &words);
    let package = scratch.path("out.mlpackage");
    let run = mert_convert(&fixture("voice-conversion"), &package, &keep);
    assert!(run.code == 2 && run.stderr.contains("--keep is for safetensors files"), "{}", run.stderr);
}

/// fairseq's own files have it under the same name, and other models have other heads there.
#[test]
fn the_head_of_fairseq_files() {
    let scratch = Scratch::new();
    let keep = ["--keep", "final_proj"];
    let message = scratch.convert(&fixture("fairseq/contentvec.pt"), &keep);
    assert!(message.contains("kept         final_proj"), "{message}");
    let converted = ConvertedModel::read(&scratch.path("out.safetensors")).unwrap();
    let size = converted.metadata.final_proj.unwrap();
    assert_eq!(converted.tensors["final_proj.weight"].shape, [size, converted.metadata.config.hidden_size]);
    scratch.refused(&fixture("fairseq/data2vec.pt"), &[&keep[..], &["--force"]].concat(), &["`final_proj.0."]);
}

/// A file that says it has the head, and has not, is refused; and the other way round.
#[test]
fn the_metadata_and_the_tensors_must_agree() {
    let scratch = Scratch::new();
    scratch.convert(&fixture("voice-conversion"), &["--keep", "final_proj"]);
    let path = scratch.path("out.safetensors");
    let bytes = fs::read(&path).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        mert_runtime::ConvertedFile::open(&path).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(open(&bytes), Ok(()));
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|found| found == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        changed
    };
    let error = open(&replaced(r#""final_proj":"20""#, r#""final_qroj":"20""#)).unwrap_err();
    assert!(error.contains("`final_proj.bias` is not part of the model"), "{error}");
    let error = open(&replaced(r#""final_proj":"20""#, r#""final_proj":"21""#)).unwrap_err();
    assert!(error.contains("tensor `final_proj.weight` has shape [20, 24], expected [21, 24]"), "{error}");
    let error = open(&replaced("final_proj.weight", "final_proj.weighs")).unwrap_err();
    assert!(error.contains("tensor `final_proj.weight` is missing"), "{error}");
}
