//! The defects of a converted file that the gate must find.

use mert_arch::Activation;
use mert_checkpoint::{Source, read_f32};
use mert_testkit::{ConvertedModel, fixture};

pub(super) const POS_CONV: &str = "encoder.pos_conv_embed.conv.weight";

/// A defect: its name, and the edit that makes it.
pub(super) type Mutant = (&'static str, fn(&mut ConvertedModel));

/// Defects for any model of the shape of `mert-tiny`.
pub(super) const MUTANTS: &[Mutant] = &[
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

pub(super) fn zero(model: &mut ConvertedModel, name: &str) {
    fill(model, name, 0.0);
}

pub(super) fn fill(model: &mut ConvertedModel, name: &str, value: f32) {
    model.tensor(name).values.fill(value);
}

fn scale(model: &mut ConvertedModel, name: &str, factor: f32) {
    model.tensor(name).values.iter_mut().for_each(|value| *value *= factor);
}

/// Exchanges the first two axes of a tensor, which are equal; `inner` is the product of the others.
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

/// Fuses the weight norm over other dimensions, which broadcasts without an error: one norm per output channel instead
/// of one per tap.
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
