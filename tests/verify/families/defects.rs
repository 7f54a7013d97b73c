//! The defects of each mechanism, as edits of a converted file. They apply to every fixture that has the mechanism, so that a
//! new family is judged by all that it can have.

use mert_arch::{Config, FeatureExtractorNorm, HubertConfig, ModelConfig, PositionalConv};
use mert_testkit::{ConvertedModel, Tensor};

/// A defect of a converted file.
pub(super) struct Defect {
    pub(super) name: &'static str,
    /// Whether a model of this configuration can have it.
    pub(super) applies: fn(&Config) -> bool,
    /// Makes the defect.
    pub(super) make: fn(&mut ConvertedModel),
}

const fn defect(name: &'static str, applies: fn(&Config) -> bool, make: fn(&mut ConvertedModel)) -> Defect {
    Defect { name, applies, make }
}

const BATCH_NORM: &str = "encoder.pos_conv_embed.batch_norm";
const EPS: f32 = 1e-5;

pub(super) const DEFECTS: &[Defect] = &[
    // The order of norms, the feature extractor, and the heads: every family.
    defect("pre-LN and post-LN exchanged", has_both_orders, |m| {
        m.config().do_stable_layer_norm = !m.config().do_stable_layer_norm;
    }),
    defect("group norm as layer norm", is_group, |m| {
        m.config().feat_extract_norm = FeatureExtractorNorm::Layer;
        // As transformers initialises those that are missing.
        for i in 1..m.config().conv_dim.len() {
            let path = format!("feature_extractor.conv_layers.{i}.layer_norm");
            add_identity_norm(m, &path, m.metadata.config.conv_dim[i]);
        }
    }),
    defect(
        "layer norm as group norm",
        |c| !is_group(c) && has_both_orders(c),
        |m| {
            m.config().feat_extract_norm = FeatureExtractorNorm::Group;
        },
    ),
    defect(
        "a LayerNorm before the projection left out",
        |c| c.feat_proj_layer_norm,
        |m| {
            fill(m, "feature_projection.layer_norm.weight", 1.0);
            fill(m, "feature_projection.layer_norm.bias", 0.0);
        },
    ),
    defect(
        "a LayerNorm before the projection added",
        |c| !c.feat_proj_layer_norm,
        |m| {
            m.config().feat_proj_layer_norm = true;
            add_identity_norm(m, "feature_projection.layer_norm", m.metadata.config.feature_size());
        },
    ),
    defect(
        "convolutions without their bias",
        |c| c.conv_bias,
        |m| {
            fill(m, "feature_extractor.conv_layers.1.conv.bias", 0.0);
        },
    ),
    defect("twice as many heads", |c| c.position_bias().is_none(), |m| m.config().num_attention_heads *= 2),
    defect(
        "scores scaled for heads of 64",
        |_| true,
        |m| {
            let factor = (m.config().head_dim() as f32 / 64.0).sqrt();
            for layer in 0..m.config().num_hidden_layers {
                for part in ["weight", "bias"] {
                    scale(m, &format!("encoder.layers.{layer}.attention.q_proj.{part}"), factor);
                }
            }
        },
    ),
    defect(
        "the last layer's keys without their weights' last row",
        |_| true,
        |m| {
            let path = last_layer(m, "attention.k_proj.weight");
            let width = m.config().hidden_size;
            let values = &mut m.tensor(&path).values;
            let start = values.len() - width;
            values[start..].fill(0.0);
        },
    ),
    defect("LayerNorm epsilon 1e-3", |_| true, |m| m.config().layer_norm_eps = 1e-3),
    // The positional convolution.
    defect(
        "positional convolution shifted by a frame",
        |_| true,
        |m| {
            let conv = last_positional_conv(m);
            let tensor = m.tensor(&format!("{conv}.weight"));
            let kernel = tensor.shape[2];
            tensor.values.chunks_mut(kernel).for_each(|taps| taps.rotate_right(1));
        },
    ),
    defect(
        "positional convolution without its bias",
        |_| true,
        |m| {
            let conv = last_positional_conv(m);
            fill(m, &format!("{conv}.bias"), 0.0);
        },
    ),
    defect("five positional convolutions as four", is_stack, |m| m.config().num_conv_pos_embeddings -= 1),
    defect("positional convolutions in reverse order", is_stack, |m| {
        let last = m.config().num_conv_pos_embeddings - 1;
        for part in ["weight", "bias"] {
            let name = |i: usize| format!("encoder.pos_conv_embed.layers.{i}.conv.{part}");
            m.swap(&name(0), &name(last));
        }
    }),
    defect("the first of the positional convolutions for all", is_stack, |m| {
        for i in 1..m.config().num_conv_pos_embeddings {
            for part in ["weight", "bias"] {
                let name = |i: usize| format!("encoder.pos_conv_embed.layers.{i}.conv.{part}");
                *m.tensor(&name(i)) = m.tensor(&name(0)).clone();
            }
        }
    }),
    defect("BatchNorm left out", is_batch_norm, |m| {
        let (mean, var) = (statistic(m, "running_mean"), statistic(m, "running_var"));
        m.tensor(&format!("{BATCH_NORM}.weight")).values = var.iter().map(|var| (var + EPS).sqrt()).collect();
        m.tensor(&format!("{BATCH_NORM}.bias")).values = mean;
    }),
    defect("BatchNorm without epsilon", is_batch_norm, |m| {
        scale_by_variance(m, |var| ((var + EPS) / var).sqrt());
    }),
    defect("BatchNorm without the running mean", is_batch_norm, |m| {
        fill(m, &format!("{BATCH_NORM}.running_mean"), 0.0)
    }),
    defect("BatchNorm divides by the variance", is_batch_norm, |m| {
        scale_by_variance(m, |var| 1.0 / (var + EPS).sqrt());
    }),
    defect("BatchNorm without its gain", is_batch_norm, |m| fill(m, &format!("{BATCH_NORM}.weight"), 1.0)),
    defect("BatchNorm folded into a convolution that pads with zeros", is_batch_norm, fold_batch_norm),
    // WavLM's gated position bias.
    defect("bias scaled like the scores", has_bias, |m| {
        let factor = (m.config().head_dim() as f32).powf(-0.5);
        scale(m, &table(), factor);
    }),
    defect("bias without its gate", has_bias, |m| {
        // σ(0)·(σ(0)·c − 1) + 2 = 1 for c = −2.
        in_every_layer(m, |m, path| {
            fill(m, &format!("{path}.gru_rel_pos_linear.weight"), 0.0);
            fill(m, &format!("{path}.gru_rel_pos_linear.bias"), 0.0);
            fill(m, &format!("{path}.gru_rel_pos_const"), -2.0);
        });
    }),
    defect("bias in layer 0 only", has_bias, |m| {
        in_every_layer(m, |m, path| {
            if path.contains(".0.") {
                return;
            }
            // σ(40)·(σ(0)·c − 1) + 2 = 0 for c = −2.
            fill(m, &format!("{path}.gru_rel_pos_linear.weight"), 0.0);
            let bias = m.tensor(&format!("{path}.gru_rel_pos_linear.bias"));
            bias.values = vec![10.0, 10.0, 10.0, 10.0, 0.0, 0.0, 0.0, 0.0];
            fill(m, &format!("{path}.gru_rel_pos_const"), -2.0);
        });
    }),
    defect("buckets off by one", has_bias, |m| {
        let heads = m.config().num_attention_heads;
        m.tensor(&table()).values.rotate_right(heads);
    }),
    defect("buckets of keys before and after exchanged", has_bias, |m| {
        let tensor = m.tensor(&table());
        let half = tensor.values.len() / 2;
        tensor.values.rotate_right(half);
    }),
    defect("distance 0 among the keys after", has_bias, |m| {
        let heads = m.config().num_attention_heads;
        let tensor = m.tensor(&table());
        let after = tensor.values.len() / 2;
        tensor.values.copy_within(after..after + heads, 0);
    }),
    defect("another largest distance", has_bias, |m| {
        if let ModelConfig::WavLm(config) = &mut m.config().model {
            config.max_bucket_distance += 4;
        }
    }),
    defect("the gate's halves swapped", has_bias, |m| gate_rows(m, |row| (row + 4) % 8)),
    defect("the gate's values summed alternately", has_bias, |m| {
        gate_rows(m, |row| row / 4 + 2 * (row % 4));
    }),
    defect("one gate for all heads", has_bias, |m| {
        in_every_layer(m, |m, path| {
            let values = &mut m.tensor(&format!("{path}.gru_rel_pos_const")).values;
            let first = values[0];
            values.fill(first);
        });
    }),
    defect("the gate of another layer", has_bias, |m| {
        let path = |layer: usize| format!("encoder.layers.{layer}.attention");
        for part in ["gru_rel_pos_const", "gru_rel_pos_linear.weight", "gru_rel_pos_linear.bias"] {
            m.swap(&format!("{}.{part}", path(0)), &format!("{}.{part}", path(1)));
        }
    }),
    defect("the gate's constant left out", has_bias, |m| {
        in_every_layer(m, |m, path| fill(m, &format!("{path}.gru_rel_pos_const"), 1.0));
    }),
];

fn is_group(config: &Config) -> bool {
    config.feat_extract_norm == FeatureExtractorNorm::Group
}

/// Whether the family has fields for the order of norms and the feature extractor's: data2vec has neither.
fn has_both_orders(config: &Config) -> bool {
    !is_stack(config)
}

fn is_stack(config: &Config) -> bool {
    matches!(config.positional_conv(), PositionalConv::Stack { .. })
}

fn is_batch_norm(config: &Config) -> bool {
    config.model == ModelConfig::Hubert(HubertConfig { conv_pos_batch_norm: true })
}

fn has_bias(config: &Config) -> bool {
    config.position_bias().is_some()
}

fn table() -> String {
    "encoder.layers.0.attention.rel_attn_embed.weight".to_string()
}

fn last_layer(model: &ConvertedModel, part: &str) -> String {
    format!("encoder.layers.{}.{part}", model.metadata.config.num_hidden_layers - 1)
}

fn last_positional_conv(model: &ConvertedModel) -> String {
    match model.metadata.config.positional_conv() {
        PositionalConv::Stack { layers, .. } => format!("encoder.pos_conv_embed.layers.{}.conv", layers - 1),
        _ => "encoder.pos_conv_embed.conv".to_string(),
    }
}

fn fill(model: &mut ConvertedModel, name: &str, value: f32) {
    model.tensor(name).values.fill(value);
}

fn scale(model: &mut ConvertedModel, name: &str, factor: f32) {
    model.tensor(name).values.iter_mut().for_each(|value| *value *= factor);
}

fn add_identity_norm(model: &mut ConvertedModel, path: &str, channels: usize) {
    for (part, value) in [("weight", 1.0), ("bias", 0.0)] {
        let tensor = Tensor { shape: vec![channels], values: vec![value; channels] };
        model.tensors.insert(format!("{path}.{part}"), tensor);
    }
}

/// Runs `edit` on the path of each layer's attention.
fn in_every_layer(model: &mut ConvertedModel, edit: impl Fn(&mut ConvertedModel, &str)) {
    for layer in 0..model.config().num_hidden_layers {
        edit(model, &format!("encoder.layers.{layer}.attention"));
    }
}

/// Gives row i of every gate's projection the values of row `from(i)`.
fn gate_rows(model: &mut ConvertedModel, from: fn(usize) -> usize) {
    in_every_layer(model, |model, path| {
        for part in ["weight", "bias"] {
            let tensor = model.tensor(&format!("{path}.gru_rel_pos_linear.{part}"));
            let (old, columns) = (tensor.values.clone(), tensor.values.len() / 8);
            for (row, values) in tensor.values.chunks_mut(columns).enumerate() {
                values.copy_from_slice(&old[from(row) * columns..][..columns]);
            }
        }
    });
}

fn statistic(model: &mut ConvertedModel, name: &str) -> Vec<f32> {
    model.tensor(&format!("{BATCH_NORM}.{name}")).values.clone()
}

/// Multiplies each channel's gain by a function of its variance.
fn scale_by_variance(model: &mut ConvertedModel, factor: fn(f32) -> f32) {
    let var = statistic(model, "running_var");
    let gain = model.tensor(&format!("{BATCH_NORM}.weight"));
    gain.values.iter_mut().zip(var).for_each(|(gain, var)| *gain *= factor(var));
}

/// Moves the BatchNorm into the convolution's weight and bias, which is the same except where the convolution pads: with
/// zeros before the BatchNorm instead of after it.
fn fold_batch_norm(model: &mut ConvertedModel) {
    let (mean, var) = (statistic(model, "running_mean"), statistic(model, "running_var"));
    let (gain, bias) = (statistic(model, "weight"), statistic(model, "bias"));
    let slopes: Vec<f32> = gain.iter().zip(&var).map(|(gain, var)| gain / (var + EPS).sqrt()).collect();
    let shifts: Vec<f32> =
        bias.iter().zip(&mean).zip(&slopes).map(|((bias, mean), slope)| bias - mean * slope).collect();
    let groups = model.config().num_conv_pos_embedding_groups;
    let weight = model.tensor("encoder.pos_conv_embed.conv.weight");
    let (outputs, inputs, kernel) = (weight.shape[0], weight.shape[1], weight.shape[2]);
    let mut added = vec![0.0; outputs];
    for (output, added) in added.iter_mut().enumerate() {
        for input in 0..inputs {
            let channel = output / (outputs / groups) * inputs + input;
            for tap in &mut weight.values[(output * inputs + input) * kernel..][..kernel] {
                *added += *tap * shifts[channel];
                *tap *= slopes[channel];
            }
        }
    }
    let bias = model.tensor("encoder.pos_conv_embed.conv.bias");
    bias.values.iter_mut().zip(added).for_each(|(bias, added)| *bias += added);
    for (name, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0 - EPS)] {
        fill(model, &format!("{BATCH_NORM}.{name}"), value);
    }
}
