//! Mutants of the program's constants: strides, padding, epsilons, axes.

use mert_testkit::core_ml_package::field;
use mert_testkit::protobuf::{Field, packed};

use super::edit::Fails::{Gate, With};
use super::edit::{Mutant, at, edit_declared, set_extents, text};

pub(super) const CONSTANTS: &[Mutant] = &[
    ("positional padding shifted", Gate, |p| {
        p.set_constant("encoder_pos_conv_embed_conv_pad", packed(&[63, 64]));
    }),
    ("positional padding left out", With("a kernel of 128 does not fit into 74 frames"), |p| {
        p.set_constant("encoder_pos_conv_embed_conv_pad_type", text("valid"));
    }),
    ("an unsupported type of padding", With("do not go together"), |p| {
        p.set_constant("encoder_pos_conv_embed_conv_pad_type", text("same"));
    }),
    ("another stride", With("is declared"), |p| {
        p.set_constant("feature_extractor_conv_layers_3_conv_strides", packed(&[1]))
    }),
    ("a stride of zero", With("expected one number, at least 1"), |p| {
        p.set_constant("feature_extractor_conv_layers_3_conv_strides", packed(&[0]));
    }),
    ("dilated", With("is declared"), |p| {
        p.set_constant("feature_extractor_conv_layers_1_conv_dilations", packed(&[2]))
    }),
    ("fewer groups", With("do not go with 64 channels"), |p| {
        p.set_constant("encoder_pos_conv_embed_conv_groups", packed(&[8]));
    }),
    ("attention scale × 0.9", Gate, |p| {
        p.set_constant(&at("attention_scale_y"), Field::Bytes(half::f16::from_f32(0.225).to_le_bytes().to_vec()));
    }),
    ("tanh GELU in one feed-forward block", Gate, |p| {
        p.set_constant(&at("feed_forward_activation_mode"), text("TANH_APPROXIMATION"));
    }),
    ("tanh GELU in the feed-forward blocks", Gate, |p| {
        for layer in 0..12 {
            p.set_constant(&format!("encoder_layers_{layer}_feed_forward_activation_mode"), text("TANH_APPROXIMATION"));
        }
    }),
    ("sigmoid GELU", With("expected EXACT or TANH_APPROXIMATION"), |p| {
        p.set_constant(&at("feed_forward_activation_mode"), text("SIGMOID_APPROXIMATION"));
    }),
    ("LayerNorm eps 1e-6", Gate, |p| {
        let eps = Field::Bytes(half::f16::from_f32(1e-6).to_le_bytes().to_vec());
        p.set_constant("feature_projection_layer_norm_epsilon", eps.clone());
        p.set_constant("encoder_layer_norm_epsilon", eps.clone());
        for layer in 0..12 {
            p.set_constant(&format!("encoder_layers_{layer}_layer_norm_epsilon"), eps.clone());
            p.set_constant(&format!("encoder_layers_{layer}_final_layer_norm_epsilon"), eps.clone());
        }
    }),
    ("GroupNorm eps 1e-2", Gate, |p| {
        let eps = Field::Bytes(1e-2f32.to_le_bytes().to_vec());
        p.set_constant("feature_extractor_conv_layers_0_layer_norm_epsilon", eps);
    }),
    ("heads split otherwise", Gate, |p| {
        for projection in ["q", "k", "v"] {
            let name = |step: &str| at(&format!("attention_{projection}_proj_{step}"));
            p.set_constant(&name("split_shape"), packed(&[1, -1, 16, 4]));
            edit_declared(p, &name("split"), |tensor| set_extents(tensor, &[1, 74, 16, 4]));
            // There are as many heads as before, made of the wrong channels.
            p.set_constant(&name("heads_perm"), packed(&[0, 3, 1, 2]));
        }
    }),
    ("an invalid permutation", With("expected a permutation"), |p| {
        p.set_constant(&at("attention_frames_perm"), packed(&[0, 2, 2, 3]));
    }),
    ("frames for heads", With("is declared"), |p| p.set_constant(&at("attention_frames_perm"), packed(&[0, 1, 2, 3]))),
    ("keys not transposed", With("operation `encoder_layers_5_attention_logits` (matmul)"), |p| {
        p.set_constant(&at("attention_logits_transpose_y"), packed(&[0]));
    }),
    ("softmax over another axis", With("expected the last one"), |p| {
        p.set_constant(&at("attention_weights_axis"), packed(&[2]));
    }),
    ("mean over another axis", With("is declared"), |p| p.set_constant("pooled_4_axes", packed(&[2]))),
    ("rows interleaved", With("interleave"), |p| p.set_constant("hidden_states_interleave", packed(&[1]))),
    ("a constant of another type", With("expected one int32"), |p| {
        p.edit_operation(&at("attention_weights"), |op| {
            op.edit_entry(field::INPUTS, "axis", |argument| {
                argument.edit(1, |binding| binding.set_text(1, &at("attention_logits_transpose_x")));
            });
        });
    }),
    ("values of another type", With("its values are not those of fp32[]"), |p| {
        p.edit_value(&at("attention_weights_axis"), |value| {
            value.edit(2, |value_type| value_type.edit(1, |tensor| tensor.set(1, Field::Varint(11))));
        });
    }),
];
