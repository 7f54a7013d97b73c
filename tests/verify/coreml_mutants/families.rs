//! Mutants of what only some families have: the position bias, BatchNorm and the stack of positional convolutions. The gate
//! runs each of them and finds its numbers wrong.

use half::f16;
use mert_testkit::CoreMlPackage;
use mert_testkit::core_ml_package::field;
use mert_testkit::protobuf::{Field, Message, packed};

use super::edit::text;

/// A defect: its name and the edit that makes it.
pub(super) type Mutant = (&'static str, fn(&mut CoreMlPackage));

/// A fixture, a deployment target and defects of its package.
pub(super) const FAMILIES: &[(&str, &str, &[Mutant])] = &[
    ("wavlm", "ios15", POSITION_BIAS),
    ("wavlm-large", "ios15", POSITION_BIAS),
    (
        "wavlm",
        "ios18",
        &[("bias left out of the fused attention", |p| {
            p.edit_operation(&layer(1, "mix"), |operation| operation.remove_entry(field::INPUTS, "attn_mask"));
        })],
    ),
    ("hubert-batch-norm", "ios15", BATCH_NORM),
    ("data2vec-audio", "ios15", STACK),
];

/// The name of a value in the attention of a layer.
fn layer(index: usize, name: &str) -> String {
    format!("encoder_layers_{index}_attention_{name}")
}

/// The bytes of a row of the table by distance: a half-precision number for each of two heads.
const ROW: usize = 4;

/// The table by distance.
fn table(package: &mut CoreMlPackage) -> &mut [u8] {
    let data = package.data("encoder_layers_0_attention_rel_attn_embed_weight");
    &mut package.weights[data]
}

fn multiply(values: &mut [u8], factor: f32) {
    for half in values.as_chunks_mut().0 {
        *half = f16::from_f32(f16::from_le_bytes(*half).to_f32() * factor).to_le_bytes();
    }
}

fn half(value: f32) -> Field {
    Field::Bytes(f16::from_f32(value).to_le_bytes().to_vec())
}

/// Binds a parameter that an operation does not have to a value.
fn add_operand(package: &mut CoreMlPackage, operation: &str, parameter: &str, value: &str) {
    let mut argument = Message(vec![]);
    argument.set_message(1, &Message(vec![(1, text(value))]));
    let mut entry = Message(vec![(1, text(parameter))]);
    entry.set_message(2, &argument);
    let entry = (field::INPUTS, Field::Bytes(entry.encode()));
    package.edit_operation(operation, |operation| operation.0.push(entry));
}

const POSITION_BIAS: &[Mutant] = &[
    // By 1 / √head_dim, as the scores are.
    ("bias scaled", |p| multiply(table(p), 12f32.powf(-0.5))),
    ("table shifted by one distance", |p| table(p).rotate_left(ROW)),
    ("table of the mirrored distances", |p| table(p).as_chunks_mut::<ROW>().0.reverse()),
    ("heads of the table exchanged", |p| {
        table(p).as_chunks_mut::<ROW>().0.iter_mut().for_each(|row| row.rotate_left(2))
    }),
    ("table's values of one bucket", |p| {
        let first = table(p)[..ROW].to_vec();
        table(p).as_chunks_mut::<ROW>().0.iter_mut().for_each(|row| row.copy_from_slice(&first));
    }),
    ("bias left out", |p| p.bind(&layer(1, "weights"), "x", &[&layer(1, "logits")])),
    ("gate left out", |p| p.bind(&layer(1, "biased"), "y", &["encoder_position_bias_batch"])),
    ("gate of the layer below", |p| p.bind(&layer(1, "bias"), "y", &[&layer(0, "gate")])),
    ("gate's weight of another layer", |p| {
        p.bind(&layer(2, "gru_rel_pos_linear"), "weight", &[&layer(1, "gru_rel_pos_linear_weight")]);
    }),
    ("gate's halves exchanged", |p| {
        for (half, row) in [("first", 1), ("second", 0)] {
            p.set_constant(&layer(1, &format!("gate_{half}_begin")), packed(&[row, 0, 0]));
            p.set_constant(&layer(1, &format!("gate_{half}_end")), packed(&[row + 1, 0, 0]));
        }
    }),
    ("gate's constant left out", |p| p.bind(&layer(1, "gate_lowered"), "x", &[&layer(1, "gate_second_column")])),
    ("gate without its summand of 2", |p| p.set_constant(&layer(1, "gate_y"), half(0.0))),
    ("gate without its subtrahend of 1", |p| p.set_constant(&layer(1, "gate_lowered_y"), half(0.0))),
    ("gate without its logistic function", |p| {
        p.bind(&layer(1, "gate_heads"), "x", &[&layer(1, "gate_sums")]);
    }),
    ("gate by the maximum of its values", |p| {
        p.edit_operation(&layer(1, "gate_sums"), |operation| operation.set_text(field::TYPE, "reduce_max"));
    }),
];

const BATCH_NORM: &[Mutant] = &[
    ("batch norm left out", |p| p.bind("encoder_pos_conv_embed_conv", "x", &["encoder_pos_conv_embed_channels"])),
    ("variance for mean", |p| {
        p.bind("encoder_pos_conv_embed_batch_norm", "mean", &["encoder_pos_conv_embed_batch_norm_running_var"]);
    }),
    ("bias for gain", |p| {
        p.bind("encoder_pos_conv_embed_batch_norm", "gamma", &["encoder_pos_conv_embed_batch_norm_bias"]);
    }),
    ("batch norm's epsilon 0.1", |p| p.set_constant("encoder_pos_conv_embed_batch_norm_epsilon", half(0.1))),
    ("norm of the clip's own statistics", |p| {
        p.edit_operation("encoder_pos_conv_embed_batch_norm", |operation| {
            operation.set_text(field::TYPE, "instance_norm");
            operation.remove_entry(field::INPUTS, "mean");
            operation.remove_entry(field::INPUTS, "variance");
        });
    }),
];

const STACK: &[Mutant] = &[
    ("one convolution left out", |p| {
        p.bind("encoder_pos_conv_embed_layers_3_channels", "x", &["encoder_pos_conv_embed_layers_1_activation"]);
    }),
    ("the last convolution left out", |p| {
        p.bind("encoder_positions", "y", &["encoder_pos_conv_embed_layers_3_activation"]);
    }),
    ("a norm left out", |p| {
        p.bind("encoder_pos_conv_embed_layers_2_activation", "x", &["encoder_pos_conv_embed_layers_2_frames"]);
    }),
    ("a norm with gain", |p| {
        // Any vector of the same width will do.
        add_operand(
            p,
            "encoder_pos_conv_embed_layers_2_layer_norm",
            "gamma",
            "encoder_pos_conv_embed_layers_1_conv_bias",
        );
    }),
    ("an activation left out", |p| {
        p.bind("encoder_pos_conv_embed_layers_3_channels", "x", &["encoder_pos_conv_embed_layers_2_layer_norm"]);
    }),
    ("tanh GELU between the convolutions", |p| {
        p.set_constant("encoder_pos_conv_embed_layers_2_activation_mode", text("TANH_APPROXIMATION"));
    }),
    ("the weight of another convolution", |p| {
        p.bind("encoder_pos_conv_embed_layers_3_conv", "weight", &["encoder_pos_conv_embed_layers_1_conv_weight"]);
    }),
    ("a bias of another convolution", |p| {
        p.bind("encoder_pos_conv_embed_layers_3_conv", "bias", &["encoder_pos_conv_embed_layers_1_conv_bias"]);
    }),
    ("padding shifted", |p| {
        p.set_constant("encoder_pos_conv_embed_layers_0_conv_pad", packed(&[8, 10]));
    }),
];
