//! The gate's sensitivity to defects in a Core ML package: honest packages pass, and every defect of the graph, its
//! types, its constants, the weights, the description or the manifest fails, through the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod common;

use std::path::{Path, PathBuf};

use common::{arg, convert_coreml, json, mert_verify, reference};
use mert_arch::Dtype;
use mert_convert::write::CoreMlOptions;
use mert_testkit::core_ml_package::field;
use mert_testkit::protobuf::{Field, Message, packed};
use mert_testkit::{CoreMlPackage, fixture};
use tempfile::TempDir;

/// How a mutant must fail.
#[derive(Clone, Copy)]
enum Fails {
    /// It runs, and the gate finds its numbers wrong: exit status 1.
    Gate,
    /// It is refused before or while it runs, with a message that has this: exit status 2.
    With(&'static str),
}

use Fails::{Gate, With};

/// A defect: its name, how it must fail, what is done.
type Mutant = (&'static str, Fails, fn(&mut CoreMlPackage));

const LAYER: &str = "encoder_layers_5";
const Q_WEIGHT: &str = "encoder_layers_5_attention_q_proj_weight";

fn at(name: &str) -> String {
    format!("{LAYER}_{name}")
}

const GRAPH: &[Mutant] = &[
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
    ("an operation that is not known", With("no operation of this kind"), |p| {
        set_type(p, &at("attention_weights"), "einsum");
    }),
    ("ReLU with GELU's parameters", With("parameter `mode` is not known"), |p| {
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
    ("a field that is not known", With("not known here"), |p| {
        p.edit_operation(&at("attention_weights"), |op| op.set(9, Field::Varint(1)));
    }),
];

const TYPES: &[Mutant] = &[
    ("another extent declared", With("but fp16[1, 74, 65] is declared"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| set_extent(tensor, 2, 65));
    }),
    ("another element type declared", With("fp32[1, 74, 64] is declared"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| tensor.set(1, Field::Varint(11)));
    }),
    ("another rank declared", With("its rank is 4, but it has 3 dimensions"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| tensor.set(2, Field::Varint(4)));
    }),
    ("an element type that is not known", With("element type 12"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| tensor.set(1, Field::Varint(12)));
    }),
    ("a constant declared otherwise than its value", With("is declared"), |p| {
        edit_declared(p, Q_WEIGHT, |tensor| set_extent(tensor, 1, 32));
    }),
    ("a cast to another type than declared", With("it is fp32[1, 32, 4799], but fp16"), |p| {
        p.set_constant("feature_extractor_conv_layers_0_cast_dtype", text("fp32"));
    }),
    ("the program's input of another length", With("the program declares fp32[1, 24001]"), |p| {
        p.edit_main(|main| {
            main.edit(1, |input| input.edit(2, |value| value.edit(1, |tensor| set_extent(tensor, 1, 24_001))));
        });
    }),
    ("the described input of another length", With("takes 24001 samples"), |p| {
        edit_feature(p, 1, |array| array.set(1, packed(&[1, 24_001])));
    }),
    ("the described input of another name", With("described input `audio`: expected `input_values`"), |p| {
        p.model.edit(field::DESCRIPTION, |description| description.edit(1, |input| input.set_text(1, "audio")));
    }),
    ("the described output in half precision", With("expected FLOAT32"), |p| {
        edit_feature(p, 10, |array| array.set(2, Field::Varint(65_552)));
    }),
    ("the described output of another shape", With("its shape is [12, 64]"), |p| {
        edit_feature(p, 10, |array| array.set(1, packed(&[12, 64])));
    }),
    ("the described output of another name", With("its program returns [\"hidden_states\"]"), |p| {
        p.model.edit(field::DESCRIPTION, |description| description.edit(10, |output| output.set_text(1, "states")));
    }),
    ("an input that may be left out", With("it is optional"), |p| {
        p.model.edit(field::DESCRIPTION, |description| {
            description.edit(1, |input| input.edit(3, |feature_type| feature_type.set(1000, Field::Varint(1))));
        });
    }),
    ("an input that is a number after all", With("not known here"), |p| {
        p.model.edit(field::DESCRIPTION, |description| {
            description.edit(1, |input| input.edit(3, |feature_type| feature_type.set_message(1, &Message::default())));
        });
    }),
    ("another kind of model behind the program", With("not known here"), |p| {
        p.model.set_message(500, &Message::default());
    }),
    ("a model that learns", With("not known here"), |p| p.model.set(10, Field::Varint(1))),
    ("a prediction that is named", With("not known here"), |p| {
        p.model.edit(field::DESCRIPTION, |description| description.set_text(11, "hidden_states"));
    }),
    ("two programs", With("not known here"), |p| {
        let program = p.model.0.iter().find(|(number, _)| *number == field::ML_PROGRAM).cloned();
        p.model.0.extend(program);
    }),
    ("an extent left open", With("its length is fixed, but operation"), |p| {
        edit_declared(p, &at("layer_norm"), |tensor| {
            tensor.edit_each(3, |dimension| dimension.0 = vec![(2, Field::Bytes(Vec::new()))]);
        });
    }),
    ("no description", With("no `description`"), |p| p.model.remove(field::DESCRIPTION)),
];

const CONSTANTS: &[Mutant] = &[
    ("positional padding shifted", Gate, |p| {
        p.set_constant("encoder_pos_conv_embed_conv_pad", packed(&[63, 64]));
    }),
    ("positional padding left out", With("a kernel of 128 does not fit into 74 frames"), |p| {
        p.set_constant("encoder_pos_conv_embed_conv_pad_type", text("valid"));
    }),
    ("padding of a type that is not known", With("do not go together"), |p| {
        p.set_constant("encoder_pos_conv_embed_conv_pad_type", text("same"));
    }),
    ("another stride", With("is declared"), |p| {
        p.set_constant("feature_extractor_conv_layers_3_conv_strides", packed(&[1]))
    }),
    ("a stride of zero", With("expected one number from 1"), |p| {
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
            // As many heads as before: the wrong channels are taken for one.
            p.set_constant(&name("heads_perm"), packed(&[0, 3, 1, 2]));
        }
    }),
    ("a transposition that is none", With("no permutation"), |p| {
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
    ("values that are not those of the type", With("its values are not those of fp32[]"), |p| {
        p.edit_value(&at("attention_weights_axis"), |value| {
            value.edit(2, |value_type| value_type.edit(1, |tensor| tensor.set(1, Field::Varint(11))));
        });
    }),
];

const WEIGHTS: &[Mutant] = &[
    ("a weight's sign flipped", Gate, |p| {
        let data = p.data(Q_WEIGHT);
        let largest = data.clone().step_by(2).max_by_key(|&at| p.weights[at + 1] & 0x7f).unwrap();
        p.weights[largest + 1] ^= 0x80;
    }),
    ("the last bit of every tenth weight of one matrix", Gate, |p| {
        p.data(Q_WEIGHT).step_by(20).for_each(|at| p.weights[at] ^= 1);
    }),
    ("a matrix transposed", Gate, |p| {
        let data = p.data(Q_WEIGHT);
        let old = p.weights[data.clone()].to_vec();
        for (i, half) in p.weights[data].as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let from = (i % 64 * 64 + i / 64) * 2;
            half.copy_from_slice(&old[from..from + 2]);
        }
    }),
    ("two weights exchanged", Gate, |p| {
        let (q, k) = (p.record(Q_WEIGHT), p.record("encoder_layers_5_attention_k_proj_weight"));
        p.set_record(Q_WEIGHT, k);
        p.set_record("encoder_layers_5_attention_k_proj_weight", q);
    }),
    ("a NaN weight", Gate, |p| {
        let data = p.data(Q_WEIGHT);
        p.weights[data.start..data.start + 2].copy_from_slice(&[0x00, 0x7e]);
    }),
    ("everything zero", Gate, |p| {
        let names: Vec<String> = weight_names(p);
        for name in names {
            let data = p.data(&name);
            p.weights[data].fill(0);
        }
    }),
    ("an offset behind the record", With("no record is there"), |p| {
        let record = p.record(Q_WEIGHT);
        p.set_record(Q_WEIGHT, record + 64);
    }),
    ("an offset between records", With("multiple of 64"), |p| {
        let record = p.record(Q_WEIGHT);
        p.set_record(Q_WEIGHT, record + 2);
    }),
    ("an offset beyond the file", With("beyond the file"), |p| p.set_record(Q_WEIGHT, 1 << 40)),
    ("one blob for two weights", With("the program uses"), |p| {
        let k = p.record("encoder_layers_5_attention_k_proj_weight");
        p.set_record(Q_WEIGHT, k);
    }),
    ("a record of another size", With("holds 4096 bytes"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 8..record + 16].copy_from_slice(&4096u64.to_le_bytes());
    }),
    ("a record of another type", With("holds element type 2"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 4] = 2;
    }),
    ("a record that points elsewhere", With("expected right behind it"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 16..record + 24].copy_from_slice(&128u64.to_le_bytes());
    }),
    ("blobs that overlap", With("overlap"), |p| {
        // A record made of the first weights of the one before.
        let (victim, bytes) = (p.data("encoder_layers_5_attention_v_proj_weight"), p.data(Q_WEIGHT).len());
        let record = p.record(Q_WEIGHT);
        let mut forged = p.weights[record..record + 64].to_vec();
        forged[16..24].copy_from_slice(&(victim.start as u64 + 64).to_le_bytes());
        assert!(victim.len() >= bytes);
        p.weights[victim.start..victim.start + 64].copy_from_slice(&forged);
        p.set_record(Q_WEIGHT, victim.start);
    }),
    ("reserved fields of a record", With("reserved fields"), |p| {
        let record = p.record(Q_WEIGHT);
        p.weights[record + 40] = 1;
    }),
    ("reserved fields of the header", With("reserved fields"), |p| p.weights[60] = 1),
    ("a count that is wrong", With("weight.bin counts 208"), |p| p.weights[0] = 208),
    ("another version of the file", With("version 1, expected 2"), |p| p.weights[4] = 1),
    ("a truncated file", With("truncated"), |p| p.weights.truncate(p.weights.len() - 100)),
    ("an empty file", With("truncated"), |p| p.weights.clear()),
    ("something appended", With("its blobs end at"), |p| p.weights.extend([0; 64])),
    ("a file of another name", With("expected `@model_path/weights/weight.bin`"), |p| {
        p.edit_value(Q_WEIGHT, |value| value.edit(5, |blob| blob.set_text(1, "@model_path/weights/other.bin")));
    }),
];

const MANIFEST: &[Mutant] = &[
    ("no manifest", With("Manifest.json"), |p| p.manifest = serde_json::Value::Null),
    ("the model's entry missing", With("no entry has the `rootModelIdentifier`"), |p| remove_item(p, "model.mlmodel")),
    ("the weights' entry missing", With("no entry for the folder `weights`"), |p| remove_item(p, "weights")),
    ("an entry that leads nowhere", With("which is not there"), |p| {
        p.manifest["itemInfoEntries"]["X"] =
            serde_json::json!({"author": "", "description": "", "name": "x", "path": "com.apple.CoreML/x"});
    }),
    ("an entry that leads out of the package", With("not inside the package"), |p| {
        p.manifest["itemInfoEntries"]["X"] =
            serde_json::json!({"author": "", "description": "", "name": "x", "path": "../../../etc/passwd"});
    }),
    ("another sample rate", With("`sample_rate` is 44100"), |p| set_metadata(p, "sample_rate", "44100")),
    ("an entry without its author", With("missing field `author`"), |p| {
        for item in p.manifest["itemInfoEntries"].as_object_mut().unwrap().values_mut() {
            item.as_object_mut().unwrap().remove("author");
        }
    }),
    ("another format version", With("fileFormatVersion"), |p| p.manifest["fileFormatVersion"] = "2.0.0".into()),
    ("a path that is not there", With("which is not there"), |p| rename_item(p, "com.apple.CoreML/other.mlmodel")),
    ("a path out of the package", With("not inside the package"), |p| rename_item(p, "../../model.mlmodel")),
    ("rows named after other hidden states", With("hidden_states"), |p| set_metadata(p, "hidden_states", "1,2,3")),
    ("rows of layers that there are not", With("expected some of 0 to 12"), |p| {
        set_metadata(p, "hidden_states", "1,2,3,4,5,6,7,8,9,10,11,12,13");
    }),
    ("weights said to be f32", Gate, |p| set_metadata(p, "dtype", "f32")),
    ("a configuration of another width", With("128"), |p| {
        let mut config = mert_arch::Config::from_json(&metadata(p, "config")).unwrap();
        config.hidden_size = 128;
        set_metadata(p, "config", &config.to_json());
    }),
    ("no configuration", With("`config`"), |p| {
        p.model.edit(field::DESCRIPTION, |d| d.edit(100, |metadata| metadata.remove_entry(100, "config")));
    }),
];

const SDPA: &str = "scaled_dot_product_attention";

fn text(value: &str) -> Field {
    Field::Bytes(value.as_bytes().to_vec())
}

fn set_type(package: &mut CoreMlPackage, operation: &str, kind: &str) {
    package.edit_operation(operation, |operation| operation.set_text(field::TYPE, kind));
    if kind == SDPA {
        package.edit_operation(operation, |operation| operation.remove(field::INPUTS));
    }
}

fn remove_operations(package: &mut CoreMlPackage, which: impl Fn(&str) -> bool) {
    package.edit_block(|block| {
        block.0.retain(|(number, field)| match field {
            Field::Bytes(bytes) if *number == field::OPERATIONS => {
                let output = Message::parse(bytes).and_then(|operation| operation.message(field::OUTPUTS));
                !output.is_some_and(|output| output.text(1).is_some_and(&which))
            }
            _ => true,
        });
    });
}

/// Changes the `TensorType` that is declared for an operation's output.
fn edit_declared(package: &mut CoreMlPackage, operation: &str, change: impl FnOnce(&mut Message)) {
    package.edit_operation(operation, |operation| {
        operation.edit(field::OUTPUTS, |output| output.edit(2, |value_type| value_type.edit(1, change)));
    });
}

fn set_extent(tensor: &mut Message, axis: usize, extent: u64) {
    let mut at = 0;
    tensor.edit_each(3, |dimension| {
        // Where lengths are flexible, an extent is open and stays so.
        if at == axis && dimension.message(1).is_some() {
            dimension.edit(1, |constant| constant.set(1, Field::Varint(extent)));
        }
        at += 1;
    });
}

fn set_extents(tensor: &mut Message, extents: &[u64]) {
    extents.iter().enumerate().for_each(|(axis, &extent)| set_extent(tensor, axis, extent));
}

/// Changes the `ArrayFeatureType` of the described input (1) or output (10).
fn edit_feature(package: &mut CoreMlPackage, which: u64, change: impl FnOnce(&mut Message)) {
    package.model.edit(field::DESCRIPTION, |description| {
        description.edit(which, |feature| feature.edit(3, |feature_type| feature_type.edit(5, change)));
    });
}

fn metadata(package: &CoreMlPackage, key: &str) -> String {
    let mut found = String::new();
    package.clone().model.edit(field::DESCRIPTION, |description| {
        description.edit(100, |metadata| {
            metadata.edit_each(100, |entry| {
                if entry.text(1) == Some(key) {
                    found = entry.text(2).unwrap().to_string();
                }
            });
        });
    });
    found
}

fn set_metadata(package: &mut CoreMlPackage, key: &str, value: &str) {
    package.model.edit(field::DESCRIPTION, |description| {
        description.edit(100, |metadata| {
            metadata.edit_each(100, |entry| {
                if entry.text(1) == Some(key) {
                    entry.set_text(2, value);
                }
            });
        });
    });
}

fn remove_item(package: &mut CoreMlPackage, name: &str) {
    package.manifest["itemInfoEntries"].as_object_mut().unwrap().retain(|_, item| item["name"] != name);
}

fn rename_item(package: &mut CoreMlPackage, path: &str) {
    for item in package.manifest["itemInfoEntries"].as_object_mut().unwrap().values_mut() {
        if item["name"] == "model.mlmodel" {
            item["path"] = path.into();
        }
    }
}

/// The names of all constants in the blob file.
fn weight_names(package: &mut CoreMlPackage) -> Vec<String> {
    let mut names = Vec::new();
    package.edit_operations(|operation| {
        let is_weight = operation.clone().0.iter().any(|(number, field)| match field {
            Field::Bytes(bytes) if *number == field::ATTRIBUTES => {
                let value = Message::parse(bytes).and_then(|entry| entry.message(2));
                value.is_some_and(|value| value.message(5).is_some())
            }
            _ => false,
        });
        if is_weight {
            names.push(operation.message(field::OUTPUTS).unwrap().text(1).unwrap().to_string());
        }
    });
    names
}

fn all() -> impl Iterator<Item = &'static Mutant> {
    [GRAPH, TYPES, CONSTANTS, WEIGHTS, MANIFEST].into_iter().flatten()
}

fn honest(folder: &TempDir, seconds: &str) -> PathBuf {
    let options = CoreMlOptions { lengths: seconds.parse().unwrap(), ..CoreMlOptions::default() };
    convert_coreml(&fixture("mert-tiny/pytorch_model.bin"), folder, Dtype::F16, &options)
}

fn verify(package: &Path) -> (i32, String) {
    let (code, out, err) = mert_verify(&[arg(package), "--layers", "all", "--reference", arg(&reference())]);
    (code, out + &err)
}

/// The largest NMSE of the structure question, for the table in `docs/sensitivity.md`.
fn worst(package: &Path) -> String {
    let report = package.with_extension("json");
    mert_verify(&[arg(package), "--reference", arg(&reference()), "--quiet", "--json", arg(&report)]);
    let layers = json(&report)["models"][0]["comparisons"][0]["layers"].clone();
    let nmse: Option<Vec<f64>> = layers.as_array().unwrap().iter().map(|l| l["metrics"]["nmse"].as_f64()).collect();
    nmse.map_or("not comparable".into(), |nmse| format!("{:.1e}", nmse.into_iter().fold(0.0, f64::max)))
}

#[test]
fn every_mutant_fails_as_it_should_and_the_honest_package_passes() {
    let folder = TempDir::new().unwrap();
    let honest = honest(&folder, "1");
    // Taken apart and put together again, unchanged: the editor itself does no harm.
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

/// Where lengths are flexible, extents are open, and fewer contradictions show before the numbers do.
#[test]
fn every_mutant_fails_where_lengths_are_flexible() {
    let folder = TempDir::new().unwrap();
    for seconds in ["0.5-2", "2,1"] {
        let honest = honest(&folder, seconds);
        let (code, output) = verify(&honest);
        assert_eq!(code, 0, "{output}");
        let package = CoreMlPackage::read(&honest).unwrap();
        let mutant = folder.path().join("mutant.mlpackage");
        for (name, fails, mutate) in all() {
            // These change what is open here.
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
            // What is refused where extents are declared may here show in the numbers only; not the other way round.
            let as_it_should = if matches!(fails, Gate) { code == 1 } else { code == 1 || code == 2 };
            assert!(as_it_should, "{name}, --seconds {seconds}: exit status {code}\n{output}");
        }
    }
}

/// Cut anywhere, a package is refused.
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
    // A flipped bit may fall into a text that nothing depends on; what it must not do is crash.
    for i in 0..150 {
        let mut bytes = model.clone();
        bytes[model.len() * i / 150] ^= 1 << (i % 8);
        std::fs::write(&path, &bytes).unwrap();
        let (code, output) = verify(&mutant);
        assert!((0..=2).contains(&code) && !output.contains("panicked"), "bit at {i}/150: {code}\n{output}");
    }
}
