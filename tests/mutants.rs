//! The gate's sensitivity: honest files pass, and every defect known to have slipped through elsewhere
//! fails, in f32 files and in f16 files, through the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod common;

use std::path::{Path, PathBuf};

use common::{arg, convert, convert_coreml, mert_verify};
use mert_arch::{Activation, Dtype, Layout, inventory};
use mert_checkpoint::Source;
use mert_checkpoint::read_f32;
use mert_convert::write::CoreMlOptions;
use mert_testkit::{ConvertedModel, fixture};
use mert_verify::Reference;
use ndarray::Axis;
use tempfile::TempDir;

const POS_CONV: &str = "encoder.pos_conv_embed.conv.weight";

/// A defect, by name.
type Mutant = (&'static str, fn(&mut ConvertedModel));

/// Defects in any model of the family that has `mert-tiny`'s shape.
const MUTANTS: &[Mutant] = &[
    ("weight norm over dims (1, 2)", |m| fuse_over_other_dims(m)),
    ("positional conv re-initialised at random", |m| {
        let mut state = 1u64;
        for value in &mut m.tensor(POS_CONV).values {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *value = (state >> 40) as f32 / (1u64 << 24) as f32 * 0.1 - 0.05;
        }
    }),
    ("positional conv trims the first frame", |m| {
        for taps in m.tensor(POS_CONV).values.chunks_mut(128) {
            taps.rotate_right(1);
            taps[0] = 0.0;
        }
    }),
    ("positional conv kernel reversed", |m| {
        m.tensor(POS_CONV).values.chunks_mut(128).for_each(<[f32]>::reverse);
    }),
    ("positional conv bias dropped", |m| zero(m, "encoder.pos_conv_embed.conv.bias")),
    ("q and k swapped in layer 5", |m| {
        m.swap("encoder.layers.5.attention.q_proj.weight", "encoder.layers.5.attention.k_proj.weight");
        m.swap("encoder.layers.5.attention.q_proj.bias", "encoder.layers.5.attention.k_proj.bias");
    }),
    ("attention scale × 0.9 in layer 3", |m| {
        scale(m, "encoder.layers.3.attention.q_proj.weight", 0.9);
        scale(m, "encoder.layers.3.attention.q_proj.bias", 0.9);
    }),
    ("q bias of layer 5 dropped", |m| zero(m, "encoder.layers.5.attention.q_proj.bias")),
    ("tanh GELU everywhere", |m| {
        m.config().hidden_act = Activation::GeluTanh;
        m.config().feat_extract_activation = Activation::GeluTanh;
    }),
    ("tanh GELU in the feed-forward blocks", |m| m.config().hidden_act = Activation::GeluTanh),
    ("ReLU in the feature extractor", |m| m.config().feat_extract_activation = Activation::Relu),
    ("LayerNorm eps 1e-6", |m| m.config().layer_norm_eps = 1e-6),
    ("last feed-forward bias dropped", |m| zero(m, "encoder.layers.11.feed_forward.output_dense.bias")),
    ("square conv transposed", |m| transpose_square(m, "feature_extractor.conv_layers.2.conv.weight", 3)),
    ("conv kernel reversed", |m| {
        m.tensor("feature_extractor.conv_layers.1.conv.weight").values.chunks_mut(3).for_each(<[f32]>::reverse);
    }),
    ("two conv layers exchanged", |m| {
        m.swap("feature_extractor.conv_layers.2.conv.weight", "feature_extractor.conv_layers.3.conv.weight");
    }),
    ("GroupNorm's affine dropped", |m| {
        fill(m, "feature_extractor.conv_layers.0.layer_norm.weight", 1.0);
        zero(m, "feature_extractor.conv_layers.0.layer_norm.bias");
    }),
    ("projection's LayerNorm gain dropped", |m| fill(m, "feature_projection.layer_norm.weight", 1.0)),
    ("encoder's LayerNorm bias dropped", |m| zero(m, "encoder.layer_norm.bias")),
    ("the two LayerNorms of layer 8 exchanged", |m| {
        for part in ["weight", "bias"] {
            m.swap(
                &format!("encoder.layers.8.layer_norm.{part}"),
                &format!("encoder.layers.8.final_layer_norm.{part}"),
            );
        }
    }),
    ("square linear transposed in layer 2", |m| transpose_square(m, "encoder.layers.2.attention.out_proj.weight", 1)),
    ("layers shifted by one", |m| {
        let names: Vec<String> = m.tensors.keys().filter(|n| n.starts_with("encoder.layers.0.")).cloned().collect();
        for name in names {
            for layer in 0..11 {
                let next = m.tensor(&name.replace(".0.", &format!(".{}.", layer + 1))).clone();
                *m.tensor(&name.replace(".0.", &format!(".{layer}."))) = next;
            }
        }
    }),
    ("heads of q in another order in layer 7", |m| {
        let half = 2 * 16 * 64;
        m.tensor("encoder.layers.7.attention.q_proj.weight").values.rotate_left(half);
    }),
    ("one weight's sign flipped", |m| {
        let values = &mut m.tensor("encoder.layers.6.feed_forward.intermediate_dense.weight").values;
        let largest = (0..values.len()).max_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs())).unwrap();
        values[largest] = -values[largest];
    }),
    ("wrong number of heads", |m| m.config().num_attention_heads = 8),
    ("pre-LN instead of post-LN", |m| m.config().do_stable_layer_norm = true),
    ("DeepNorm turned on", |m| m.config().deepnorm = true),
    ("strides in another order", |m| m.config().conv_stride = vec![2, 5, 2, 2, 2, 2, 2]),
    ("a stride that is wrong", |m| m.config().conv_stride = vec![5, 2, 2, 2, 2, 2, 1]),
    ("the last layer missing", |m| m.config().num_hidden_layers = 11),
    ("a NaN weight", |m| m.tensor("encoder.layers.4.attention.v_proj.weight").values[9] = f32::NAN),
    ("an infinite weight", |m| m.tensor("encoder.layers.9.feed_forward.output_dense.weight").values[9] = f32::INFINITY),
    ("everything zero", |m| m.tensors.values_mut().for_each(|t| t.values.fill(0.0))),
];

fn zero(model: &mut ConvertedModel, name: &str) {
    fill(model, name, 0.0);
}

fn fill(model: &mut ConvertedModel, name: &str, value: f32) {
    model.tensor(name).values.fill(value);
}

fn scale(model: &mut ConvertedModel, name: &str, factor: f32) {
    model.tensor(name).values.iter_mut().for_each(|value| *value *= factor);
}

/// Exchanges the first two axes of a tensor in which they are equal; `inner` is the product of the
/// others.
fn transpose_square(model: &mut ConvertedModel, name: &str, inner: usize) {
    let tensor = model.tensor(name);
    let n = tensor.shape[0];
    assert_eq!(tensor.values.len(), n * n * inner, "{name} is not square");
    let old = tensor.values.clone();
    for (i, value) in tensor.values.iter_mut().enumerate() {
        let (row, column, rest) = (i / (n * inner), i / inner % n, i % inner);
        *value = old[(column * n + row) * inner + rest];
    }
}

/// The norm that broadcasts without an error: one per output channel instead of one per tap.
fn fuse_over_other_dims(model: &mut ConvertedModel) {
    let source = Source::open(&fixture("mert-tiny/pytorch_model.bin")).unwrap();
    let g = read_f32(source.checkpoint(), &format!("{POS_CONV}_g")).unwrap();
    let v = read_f32(source.checkpoint(), &format!("{POS_CONV}_v")).unwrap();
    let tensor = model.tensor(POS_CONV);
    let per_output = v.len() / tensor.shape[0];
    for (values, v) in tensor.values.chunks_mut(per_output).zip(v.chunks(per_output)) {
        let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        for (i, value) in values.iter_mut().enumerate() {
            *value = g[i % g.len()] * v[i] / norm;
        }
    }
}

fn verify(model: &Path, reference: &str, extra: &[&str]) -> (i32, String, String) {
    let reference = fixture(reference);
    let mut args = vec![arg(model), "--layers", "all", "--reference", arg(&reference)];
    args.extend(extra);
    mert_verify(&args)
}

/// The worst pooled cosine, frame cosine and NMSE of a report's first comparison, for the table in
/// `docs/sensitivity.md`.
fn worst(report: &Path) -> String {
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let layers = report["models"][0]["comparisons"][0]["layers"].as_array().unwrap();
    let all = |key: &str| -> Option<Vec<f64>> { layers.iter().map(|l| l["metrics"][key].as_f64()).collect() };
    let (pooled, frame, nmse) = (all("pooled_cosine"), all("min_frame_cosine"), all("nmse"));
    let (Some(pooled), Some(frame), Some(nmse)) = (pooled, frame, nmse) else {
        return "not comparable | | ".into();
    };
    let min = |values: Vec<f64>| values.into_iter().fold(f64::MAX, f64::min);
    format!("{:.6} | {:.6} | {:.1e}", min(pooled), min(frame), nmse.into_iter().fold(0.0, f64::max))
}

#[test]
fn every_mutant_fails_and_the_honest_file_passes() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("report.json");
    let mut survivors = Vec::new();
    let mut killed = 0;
    for (dtype, layout) in [(Dtype::F32, Layout::Torch), (Dtype::F16, Layout::Mlx), (Dtype::Bf16, Layout::Mlx)] {
        let honest = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, dtype, layout);
        // Taken apart and put together again, unchanged: the editor itself does no harm.
        let rewritten = folder.path().join("rewritten.safetensors");
        ConvertedModel::read(&honest).unwrap().write(&rewritten).unwrap();
        for file in [&honest, &rewritten] {
            let extra = ["--require-structure", "--json", arg(&report)];
            let (code, out, err) = verify(file, "mert-tiny/reference.npz", &extra);
            assert_eq!(code, 0, "{dtype}: {out}{err}");
        }
        println!("{dtype} | nothing | {}", worst(&report));
        for (name, mutate) in MUTANTS {
            let mut model = ConvertedModel::read(&honest).unwrap();
            mutate(&mut model);
            let mutant = folder.path().join("mutant.safetensors");
            model.write(&mutant).unwrap();
            let (code, out, err) = verify(&mutant, "mert-tiny/reference.npz", &["--json", arg(&report)]);
            if code == 1 {
                assert!(out.contains("FAILED"), "{out}");
                println!("{dtype} | {name} | {}", worst(&report));
                killed += 1;
            } else {
                survivors.push(format!("{dtype}: {name} gave exit status {code}\n{out}{err}"));
            }
        }
    }
    assert!(survivors.is_empty(), "{}", survivors.join("\n"));
    assert_eq!(killed, 3 * MUTANTS.len());
}

/// Rounding is part of the conversion: cutting the bits off instead shows, because the reference with
/// f16 weights has them rounded to nearest.
#[test]
fn f16_by_truncation_fails() {
    let folder = TempDir::new().unwrap();
    let exact =
        ConvertedModel::read(&convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F32, Layout::Mlx));
    let mut model = exact.unwrap();
    for tensor in model.tensors.values_mut() {
        // Ten bits of fraction are kept; then the rounding to f16 has nothing left to round.
        tensor.values.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits() & !0x1fff));
    }
    model.metadata.dtype = Dtype::F16;
    let mutant = folder.path().join("truncated.safetensors");
    model.write(&mutant).unwrap();
    let (code, out, _) = verify(&mutant, "mert-tiny/reference.npz", &[]);
    assert_eq!(code, 1, "{out}");
}

/// `attention_relax` changes how the softmax is computed, not what it is: no gate may reject it.
#[test]
fn what_is_mathematically_the_same_passes() {
    let folder = TempDir::new().unwrap();
    let honest = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F32, Layout::Mlx);
    let mut model = ConvertedModel::read(&honest).unwrap();
    model.config().attention_relax = 24.0;
    model.config().sample_rate = None;
    let same = folder.path().join("same.safetensors");
    model.write(&same).unwrap();
    let (code, out, _) = verify(&same, "mert-tiny/reference.npz", &[]);
    assert_eq!(code, 0, "{out}");
}

/// The other branches of the architecture have defects of their own.
#[test]
fn mutants_of_the_other_variants_fail() {
    let stable: &[Mutant] = &[
        ("post-LN instead of pre-LN", |m| m.config().do_stable_layer_norm = false),
        ("conv bias dropped", |m| zero(m, "feature_extractor.conv_layers.3.conv.bias")),
        ("conv LayerNorm gain dropped", |m| fill(m, "feature_extractor.conv_layers.4.layer_norm.weight", 1.0)),
        ("final LayerNorm's gain dropped", |m| fill(m, "encoder.layer_norm.weight", 1.0)),
        ("v bias of the last layer dropped", |m| zero(m, "encoder.layers.2.attention.v_proj.bias")),
        // 1e-6 instead of 1e-5 leaves an NMSE of 1e-10 here, below what any gate at 1e-9 can see: the
        // residual stream of a pre-LN model is large against either.
        ("LayerNorm eps 1e-4", |m| m.config().layer_norm_eps = 1e-4),
    ];
    let deepnorm: &[Mutant] = &[
        ("DeepNorm turned off", |m| m.config().deepnorm = false),
        ("LayerNorm eps 1e-5", |m| m.config().layer_norm_eps = 1e-5),
        ("odd positional kernel shifted", |m| {
            m.tensor(POS_CONV).values.chunks_mut(15).for_each(|taps| taps.rotate_right(1));
        }),
    ];
    let folder = TempDir::new().unwrap();
    for (name, mutants) in [("stable-layer-norm", stable), ("deepnorm", deepnorm)] {
        let reference = format!("{name}/reference.npz");
        for dtype in [Dtype::F32, Dtype::F16] {
            let honest = convert(&fixture(&format!("{name}/pytorch_model.bin")), &folder, dtype, Layout::Mlx);
            let (code, out, err) = verify(&honest, &reference, &["--require-structure"]);
            assert_eq!(code, 0, "{name} {dtype}: {out}{err}");
            for (mutant_name, mutate) in mutants {
                let mut model = ConvertedModel::read(&honest).unwrap();
                mutate(&mut model);
                let mutant = folder.path().join("mutant.safetensors");
                model.write(&mutant).unwrap();
                let (code, out, err) = verify(&mutant, &reference, &[]);
                assert_eq!(code, 1, "{name} {dtype}: {mutant_name} survived\n{out}{err}");
            }
        }
    }
}

const LACKS_NORM: &str = "the reference's last hidden state lacks the encoder's final LayerNorm";

/// The reference of `stable-layer-norm` as transformers 5 returns it: the last hidden state before the encoder's final
/// LayerNorm. It is computed backwards: (y − bias) / gain has the mean 0 and the variance 1 that the LayerNorm
/// produces, so that every a + b · (y − bias) / gain is normalised to y again.
fn without_final_norm(folder: &TempDir) -> PathBuf {
    let mut reference = Reference::read(&fixture("stable-layer-norm/reference.npz")).unwrap();
    let last = reference.hidden_states.dim().0 - 1;
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let file = convert(&fixture("stable-layer-norm/pytorch_model.bin"), folder, dtype, Layout::Mlx);
        let mut model = ConvertedModel::read(&file).unwrap();
        let [gain, bias] = ["weight", "bias"].map(|n| model.tensor(&format!("encoder.layer_norm.{n}")).values.clone());
        let states =
            if dtype == Dtype::F32 { Some(&mut reference.hidden_states) } else { reference.rounded.get_mut(&dtype) };
        for (i, mut frame) in states.unwrap().index_axis_mut(Axis(0), last).axis_iter_mut(Axis(0)).enumerate() {
            let (offset, spread) = (0.1 * i as f64 - 2.0, 8.0 + (i % 5) as f64);
            for ((y, gain), bias) in frame.iter_mut().zip(&gain).zip(&bias) {
                *y = (offset + spread * f64::from(*y - bias) / f64::from(*gain)) as f32;
            }
        }
    }
    let path = folder.path().join("without-final-norm.npz");
    reference.write(&path).unwrap();
    path
}

/// The reference is wrong, not the model; a model with the same fault does not pass because of it.
#[test]
fn a_reference_without_the_final_layer_norm_is_recognised() {
    let folder = TempDir::new().unwrap();
    let reference = without_final_norm(&folder);
    let verify = |model: &Path, reference: &Path, extra: &[&str]| {
        mert_verify(&[&[arg(model), "--reference", arg(reference)], extra].concat())
    };
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let honest = convert(&fixture("stable-layer-norm/pytorch_model.bin"), &folder, dtype, Layout::Mlx);
        for extra in [&[][..], &["--isolate"], &["--layers", "3"]] {
            let (code, out, err) = verify(&honest, &reference, extra);
            assert_eq!(code, 1, "{dtype}: {out}{err}");
            let questions = if dtype == Dtype::F32 { 1 } else { 2 };
            assert_eq!(out.matches(LACKS_NORM).count(), questions, "{dtype}: {out}");
            assert_eq!(out.matches("it agrees with the model").count(), questions, "{dtype}: {out}");
            assert!(out.contains("the first bad one is hidden state 3 "), "{out}");
            assert!(out.contains("put `last_hidden_state` in the last place"), "{out}");
        }
        assert_eq!(verify(&honest, &reference, &["--layers", "0-2"]).0, 0);

        let mutants: &[Mutant] = &[
            ("final LayerNorm's gain dropped", |m| fill(m, "encoder.layer_norm.weight", 1.0)),
            ("final LayerNorm's bias dropped", |m| zero(m, "encoder.layer_norm.bias")),
            ("v bias of the last layer dropped", |m| zero(m, "encoder.layers.2.attention.v_proj.bias")),
        ];
        for (name, mutate) in mutants {
            let mut model = ConvertedModel::read(&honest).unwrap();
            mutate(&mut model);
            let mutant = folder.path().join("mutant.safetensors");
            model.write(&mutant).unwrap();
            let (code, out, _) = verify(&mutant, &reference, &[]);
            assert_eq!(code, 1, "{dtype}: {name}: {out}");
            // What the file's own LayerNorm does to the reference cannot show that it is wrong: hence exit status 1.
            let agrees = name.starts_with("final");
            let structure = out.split("\nrounding, ").next().unwrap();
            assert_eq!(structure.contains("agrees with the model"), agrees, "{dtype}: {name}: {out}");
            // With a correct reference, there is no message about the reference.
            let (code, out, _) = verify(&mutant, &fixture("stable-layer-norm/reference.npz"), &[]);
            assert!(code == 1 && !out.contains(LACKS_NORM), "{dtype}: {name}: {out}");
        }
    }

    // A package that returns means over frames.
    let options = CoreMlOptions { lengths: "1.0076875".parse().unwrap(), ..CoreMlOptions::default() };
    let package = convert_coreml(&fixture("stable-layer-norm/pytorch_model.bin"), &folder, Dtype::F16, &options);
    let (code, out, err) = verify(&package, &reference, &[]);
    assert_eq!(code, 1, "{out}{err}");
    assert_eq!(out.matches("it agrees with the model").count(), 2, "{out}");
}

/// With `--isolate` a defect is blamed on its own layer, and on no other.
#[test]
fn isolation_finds_the_layer_at_fault() {
    let folder = TempDir::new().unwrap();
    let honest = convert(&fixture("mert-tiny/pytorch_model.bin"), &folder, Dtype::F16, Layout::Mlx);
    let (code, out, _) = verify(&honest, "mert-tiny/reference.npz", &["--isolate"]);
    assert_eq!(code, 0, "{out}");
    for layer in [0, 5, 11] {
        let mut model = ConvertedModel::read(&honest).unwrap();
        zero(&mut model, &format!("encoder.layers.{layer}.attention.q_proj.bias"));
        let mutant = folder.path().join("mutant.safetensors");
        model.write(&mutant).unwrap();
        for (isolated, expected) in [(true, vec![layer + 1]), (false, (layer + 1..13).collect())] {
            let json = folder.path().join("report.json");
            let mut extra = vec!["--json", arg(&json)];
            if isolated {
                extra.push("--isolate");
            }
            assert_eq!(verify(&mutant, "mert-tiny/reference.npz", &extra).0, 1);
            let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
            let structure = &report["models"][0]["comparisons"][0];
            assert_eq!(structure["question"], "structure");
            let blamed: Vec<usize> = structure["layers"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|l| !l["failures"].as_array().unwrap().is_empty())
                .map(|l| l["layer"].as_u64().unwrap() as usize)
                .collect();
            assert_eq!(blamed, expected, "isolated: {isolated}");
        }
    }
}

/// The suite above edits what the runtime loads: if the inventory and the fixture drifted apart, some
/// mutants would no longer change anything.
#[test]
fn every_mutant_changes_the_model() {
    let honest = ConvertedModel::read(&fixture("mert-tiny/model.safetensors")).unwrap();
    assert_eq!(inventory(&honest.metadata.config).len(), honest.tensors.len());
    for (name, mutate) in MUTANTS {
        let mut model = honest.clone();
        mutate(&mut model);
        let same_tensors = honest.tensors.iter().all(|(n, t)| model.tensors[n] == *t);
        assert!(!same_tensors || model.metadata.config != honest.metadata.config, "{name} changes nothing");
    }
}
