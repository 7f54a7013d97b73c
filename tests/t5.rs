//! T5's encoder beside transformers: tokens of texts, and their states; defects that change them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use mert_t5::{T5Encoder, T5Error};
use safetensors::tensor::{SafeTensors, TensorView, serialize_to_file};
use serde_json::Value;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/t5-tiny").join(name)
}

/// The texts of the fixture with their tokens.
fn texts() -> Vec<(String, Vec<u32>)> {
    let value: Value = serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap();
    let entry = |entry: &Value| {
        let ids = entry["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32);
        (entry["text"].as_str().unwrap().to_string(), ids.collect())
    };
    value.as_array().unwrap().iter().map(entry).collect()
}

/// The states that transformers returned for each text.
fn states(folder: &Path) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = |data: &[u8]| data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    (0..file.len()).map(|i| floats(file.tensor(&i.to_string()).unwrap().data())).collect()
}

/// The largest difference, as a part of the largest state.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
    found.iter().zip(expected).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn tokens_and_states_are_those_of_transformers() {
    for folder in [fixture(""), fixture("gated")] {
        let t5 = T5Encoder::open(&folder, &Device::Cpu).unwrap();
        for ((text, ids), expected) in texts().iter().zip(states(&folder)) {
            let encoded = t5.encode(text).unwrap();
            assert_eq!(&encoded.ids, ids, "{text}");
            // The sums are taken in another order than torch's.
            let difference = difference(&encoded.states, &expected);
            assert!(difference < 1e-5, "{}: {text}: {difference}", folder.display());
        }
    }
}

/// A copy of the fixture's folder.
fn copy() -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(fixture(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn padding_and_truncation_of_a_training_have_no_effect() {
    let folder = copy();
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    tokenizer["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    tokenizer["padding"] = serde_json::json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"});
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let t5 = T5Encoder::open(folder.path(), &Device::Cpu).unwrap();
    for (text, ids) in texts() {
        assert_eq!(t5.encode(&text).unwrap().ids, ids, "{text}");
    }
}

type Tensors = BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>;

fn edit(folder: &TempDir, defect: impl Fn(&mut Tensors)) {
    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor =
        |(name, view): (String, TensorView<'_>)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()));
    let mut tensors: Tensors = file.tensors().into_iter().map(tensor).collect();
    defect(&mut tensors);
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize_to_file(views.collect::<Vec<_>>(), None, &path).unwrap();
}

const LAYER: &str = "encoder.block.0.layer";

#[test]
fn defects_show() {
    let swap = |tensors: &mut Tensors, a: String, b: String| {
        let (first, second) = (tensors[&a].clone(), tensors[&b].clone());
        tensors.insert(a, second);
        tensors.insert(b, first);
    };
    type Defect<'a> = (&'a str, &'a dyn Fn(&mut Tensors));
    let defects: &[Defect<'_>] = &[
        // As if keys before and after the query were not told apart.
        ("the sides of the position bias", &|tensors| {
            let table =
                &mut tensors.get_mut(&format!("{LAYER}.0.SelfAttention.relative_attention_bias.weight")).unwrap().2;
            let half = table.len() / 2;
            table.copy_within(..half, half);
        }),
        ("q and k", &|tensors| {
            swap(tensors, format!("{LAYER}.0.SelfAttention.q.weight"), format!("{LAYER}.0.SelfAttention.k.weight"));
        }),
        ("the norms of a layer", &|tensors| {
            swap(tensors, format!("{LAYER}.0.layer_norm.weight"), format!("{LAYER}.1.layer_norm.weight"));
        }),
        ("the second layer's attention", &|tensors| {
            swap(
                tensors,
                format!("{LAYER}.0.SelfAttention.o.weight"),
                "encoder.block.1.layer.0.SelfAttention.o.weight".into(),
            );
        }),
    ];
    for (name, defect) in defects {
        let folder = copy();
        edit(&folder, defect);
        let t5 = T5Encoder::open(folder.path(), &Device::Cpu).unwrap();
        let found = t5.states(&texts()[0].1).unwrap();
        let difference = difference(&found, &states(&fixture(""))[0]);
        assert!(difference > 1e-3, "{name}: {difference}");
    }
}

#[test]
fn folders_that_are_not_complete_are_refused() {
    let open = |folder: &TempDir| match T5Encoder::open(folder.path(), &Device::Cpu) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    let folder = copy();
    edit(&folder, |tensors| drop(tensors.remove("encoder.final_layer_norm.weight")));
    assert!(open(&folder).contains("`encoder.final_layer_norm.weight` is not in T5's checkpoint"));
    let folder = copy();
    edit(&folder, |tensors| {
        let norm = tensors["encoder.final_layer_norm.weight"].clone();
        tensors.insert("encoder.other.weight".into(), norm);
    });
    assert!(open(&folder).contains("1 tensors that config.json does not describe, such as `encoder.other.weight`"));
    let folder = copy();
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "t5", "d_model": 32}"#).unwrap();
    assert!(open(&folder).contains("expected"));
    let folder = copy();
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    assert!(open(&folder).contains("copy it from the folder of the model"));
    std::fs::write(folder.path().join("spiece.model"), "").unwrap();
    assert!(open(&folder).contains("save_pretrained"));
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(open(&folder).contains("not a tokenizer"));
}

#[test]
fn tokens_out_of_range_are_refused() {
    let t5 = T5Encoder::open(&fixture(""), &Device::Cpu).unwrap();
    assert!(matches!(t5.states(&[]), Err(T5Error::Length { found: 0, .. })));
    assert!(matches!(t5.states(&[1, 1 << 20]), Err(T5Error::Token { index: 1, .. })));
}
