//! Mutants of the program's graph: operands, operations and their order.

use mert_testkit::core_ml_package::field;
use mert_testkit::protobuf::Field;

use super::edit::Fails::{Gate, With};
use super::edit::{Mutant, SDPA, at, remove_operations, set_type};

pub(super) const GRAPH: &[Mutant] = &[
    ("q and k exchanged", Gate, |p| p.bind(&at("attention_logits"), "x", &[&at("attention_k_proj_heads")])),
    ("keys mixed instead of values", Gate, |p| p.bind(&at("attention_mix"), "y", &[&at("attention_k_proj_heads")])),
    ("softmax left out", Gate, |p| p.bind(&at("attention_mix"), "x", &[&at("attention_logits")])),
    ("attention scale left out", Gate, |p| {
        p.bind(&at("attention_q_proj_split"), "x", &[&at("attention_q_proj")]);
    }),
    ("residual around attention dropped", Gate, |p| {
        p.bind(&at("attention_residual"), "x", &[&at("attention_out_proj")]);
    }),
    ("residual of the feed-forward block from before the norm", Gate, |p| {
        p.bind(&at("feed_forward_residual"), "x", &[&at("attention_residual")]);
    }),
    ("a layer norm left out", Gate, |p| {
        let (from, to) = (at("layer_norm"), at("attention_residual"));
        p.bind(&at("feed_forward_intermediate_dense"), "x", &[&to]);
        p.bind(&at("feed_forward_residual"), "x", &[&to]);
        assert_ne!(from, to);
    }),
    ("a layer left out", Gate, |p| {
        for parameter in ["attention_q_proj", "attention_k_proj", "attention_v_proj", "attention_residual"] {
            p.bind(&format!("encoder_layers_6_{parameter}"), "x", &["encoder_layers_4_final_layer_norm"]);
        }
    }),
    ("activation of the feed-forward block left out", Gate, |p| {
        p.bind(&at("feed_forward_output_dense"), "x", &[&at("feed_forward_intermediate_dense")]);
    }),
    ("positions not added", Gate, |p| p.bind("encoder_positions", "y", &["feature_projection_projection"])),
    ("positional activation left out", Gate, |p| {
        p.bind("encoder_pos_conv_embed_frames", "x", &["encoder_pos_conv_embed_conv"]);
    }),
    ("keys' weight of another layer for q", Gate, |p| {
        p.bind(&at("attention_q_proj"), "weight", &["encoder_layers_4_attention_k_proj_weight"]);
    }),
    ("a bias of another layer", Gate, |p| {
        p.bind(&at("attention_q_proj"), "bias", &["encoder_layers_4_attention_q_proj_bias"]);
    }),
    ("a bias dropped", Gate, |p| {
        p.edit_operation(&at("attention_q_proj"), |op| op.remove_entry(field::INPUTS, "bias"));
    }),
    ("gain of a layer norm dropped", Gate, |p| {
        p.edit_operation(&at("layer_norm"), |op| op.remove_entry(field::INPUTS, "gamma"));
    }),
    ("rows of the result exchanged", Gate, |p| {
        let rows: Vec<String> = (0..13).map(|i| format!("pooled_{}", [0, 1, 2, 4, 3].get(i).unwrap_or(&i))).collect();
        p.bind("hidden_states", "values", &rows.iter().map(String::as_str).collect::<Vec<_>>());
    }),
    ("a state before its norm", Gate, |p| p.bind("hidden_states_6", "x", &[&at("feed_forward_residual")])),
    ("difference for sum", Gate, |p| set_type(p, &at("attention_residual"), "sub")),
    ("maximum for mean", Gate, |p| set_type(p, "pooled_7", "reduce_max")),
    ("an unsupported operation", With("unsupported operation"), |p| {
        set_type(p, &at("attention_weights"), "einsum");
    }),
    ("ReLU with GELU's parameters", With("unsupported parameter `mode`"), |p| {
        set_type(p, &at("feed_forward_activation"), "relu");
    }),
    ("an operation of iOS 18", With("CoreML8 and later"), |p| set_type(p, &at("attention_mix"), SDPA)),
    ("an operation missing", With("no value `encoder_layers_5_attention_weights` precedes"), |p| {
        remove_operations(p, |name| name == at("attention_weights"));
    }),
    ("operations in another order", With("precedes it"), |p| p.edit_block(|block| block.0.reverse())),
    ("two values of one name", With("another value has this name"), |p| {
        p.edit_block(|block| {
            let last = block.0.iter().rfind(|(number, _)| *number == field::OPERATIONS).cloned();
            block.0.extend(last);
        });
    }),
    ("an operand missing", With("parameter `y` is missing"), |p| {
        p.edit_operation(&at("attention_logits"), |op| op.remove_entry(field::INPUTS, "y"));
    }),
    ("an operand bound twice", With("has 2 values"), |p| {
        p.bind(&at("layer_norm"), "x", &[&at("attention_residual"), &at("attention_residual")]);
    }),
    ("an operand of the wrong kind", With("parameter `x` is int32[1], expected fp16 or fp32"), |p| {
        p.bind(&at("attention_weights"), "x", &["feature_projection_layer_norm_axes"]);
    }),
    ("the name attribute missing", With("attribute `name` is missing"), |p| {
        p.edit_operation(&at("attention_weights"), |op| op.remove_entry(field::ATTRIBUTES, "name"));
    }),
    ("a second output", With("2 outputs"), |p| {
        p.edit_operation(&at("attention_weights"), |op| {
            let output = op.0.iter().find(|(number, _)| *number == field::OUTPUTS).cloned();
            op.0.extend(output);
        });
    }),
    ("a second function", With("expected `main` alone"), |p| {
        p.model.edit(field::ML_PROGRAM, |program| {
            let mut entry = program.message(field::FUNCTIONS).unwrap();
            entry.set_text(1, "other");
            program.0.push((field::FUNCTIONS, Field::Bytes(entry.encode())));
        });
    }),
    ("another operation set", With("`CoreML7`"), |p| p.edit_main(|main| main.set_text(2, "CoreML7"))),
    ("another specification version", With("specificationVersion"), |p| p.model.set(1, Field::Varint(7))),
    ("an older specification version", With("expected 6 to 9"), |p| p.model.set(1, Field::Varint(5))),
    ("another version of the program", With("`mlProgram.version` is 2"), |p| {
        p.model.edit(field::ML_PROGRAM, |program| program.set(1, Field::Varint(2)));
    }),
    ("no program", With("no ML Program"), |p| p.model.remove(field::ML_PROGRAM)),
    ("an unknown field", With("unsupported fields"), |p| {
        p.edit_operation(&at("attention_weights"), |op| op.set(9, Field::Varint(1)));
    }),
];
