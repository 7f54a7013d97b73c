//! What a training configuration says that the tensors contradict.

use std::fmt;

use super::config::{ExtractorMode, FairseqModel};
use crate::{Config, FeatureExtractorNorm, ModelConfig, PositionalConv};

/// A field of a training configuration whose value the tensors contradict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The path of the field.
    pub field: String,
    /// The field of a `config.json` that decides instead.
    pub config_field: &'static str,
    /// The value that the configuration states.
    pub stated: String,
    /// The value that the tensors show.
    pub shown: String,
    /// A tensor that shows it, by its Hugging Face name.
    pub tensor: String,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contradiction { field, stated, shown, tensor, .. } = self;
        write!(f, "`{field}` is {stated}, but the tensors have {shown} (`{tensor}`)")
    }
}

/// Collects the contradictions of a section.
struct Check<'m> {
    model: &'m FairseqModel,
    found: Vec<Contradiction>,
}

impl Check<'_> {
    /// Compares a stated value with what a tensor shows.
    fn equal<T: PartialEq + fmt::Debug>(
        &mut self,
        (field, config_field): (&str, &'static str),
        stated: Option<T>,
        shown: T,
        tensor: &str,
    ) {
        if let Some(stated) = stated.filter(|stated| *stated != shown) {
            self.found.push(Contradiction {
                field: format!("{}{field}", self.model.path),
                config_field,
                stated: format!("{stated:?}"),
                shown: format!("{shown:?}"),
                tensor: tensor.to_string(),
            });
        }
    }
}

impl FairseqModel {
    /// The fields that the tensors of a model contradict. `config` has every size from the tensors, `conditional` is the
    /// number of speaker-conditional layers that follow those of `config`.
    pub fn contradictions(&self, config: &Config, conditional: usize) -> Vec<Contradiction> {
        let mut check = Check { model: self, found: Vec::new() };
        let conv0 = crate::CONV0_WEIGHT;
        if let Some(layers) = &self.conv_feature_layers {
            let field = "conv_feature_layers";
            let (dims, kernels): (Vec<usize>, Vec<usize>) =
                layers.iter().map(|layer| (layer.dim, layer.kernel)).unzip();
            check.equal((field, "conv_dim"), Some(dims), config.conv_dim.clone(), conv0);
            check.equal((field, "conv_kernel"), Some(kernels), config.conv_kernel.clone(), conv0);
        }
        check.equal(("conv_bias", "conv_bias"), self.conv_bias, config.conv_bias, conv0);
        let mode = self.extractor_mode.map(|mode| match mode {
            ExtractorMode::Default | ExtractorMode::GroupNormMasked => "default",
            ExtractorMode::LayerNorm => "layer_norm",
        });
        let shown = if config.feat_extract_norm == FeatureExtractorNorm::Group { "default" } else { "layer_norm" };
        let norm = "feature_extractor.conv_layers.0.layer_norm.weight";
        check.equal(("extractor_mode", "feat_extract_norm"), mode, shown, norm);
        let projection = "feature_projection.projection.weight";
        check.equal(("encoder_embed_dim", "hidden_size"), self.encoder_embed_dim, config.hidden_size, projection);
        let fc1 = "encoder.layers.0.feed_forward.intermediate_dense.weight";
        let field = ("encoder_ffn_embed_dim", "intermediate_size");
        check.equal(field, self.encoder_ffn_embed_dim, config.intermediate_size, fc1);
        self.check_layers(&mut check, config, conditional);
        self.check_positions(&mut check, config);
        check.found
    }

    /// The number of layers. A ContentVec without its conditional layers still states them.
    fn check_layers(&self, check: &mut Check<'_>, config: &Config, conditional: usize) {
        let last = |layers: usize| {
            format!("encoder.layers.{}.feed_forward.intermediate_dense.weight", layers.saturating_sub(1))
        };
        let layers = config.num_hidden_layers;
        check.equal(("encoder_layers", "num_hidden_layers"), self.encoder_layers, layers, &last(layers));
        if conditional > 0 {
            let field = ("encoder_layers_1", "num_hidden_layers");
            check.equal(field, self.encoder_layers_1, conditional, &last(layers + conditional));
        }
    }

    fn check_positions(&self, check: &mut Check<'_>, config: &Config) {
        let positional = config.positional_conv();
        let stack = "encoder.pos_conv_embed.layers.0.conv.weight";
        let tensor = match positional {
            PositionalConv::Stack { .. } => stack,
            PositionalConv::WeightNorm { .. } | PositionalConv::BatchNorm { .. } => "encoder.pos_conv_embed.conv.bias",
        };
        let depth = self.pos_conv_depth.map(|depth| depth.max(1));
        check.equal(("pos_conv_depth", "num_conv_pos_embeddings"), depth, positional.layers(), tensor);
        // `max(3, conv_pos // pos_conv_depth)` in fairseq's make_conv_pos.
        let kernel = self.conv_pos.map(|sum| match positional {
            PositionalConv::Stack { layers, .. } => 3.max(sum / layers.max(1)),
            _ => sum,
        });
        check.equal(("conv_pos", "num_conv_pos_embeddings"), kernel, positional.kernel(), tensor);
        let field = ("conv_pos_groups", "num_conv_pos_embedding_groups");
        check.equal(field, self.conv_pos_groups, positional.groups(), tensor);
        let has_batch_norm = matches!(positional, PositionalConv::BatchNorm { .. });
        check.equal(("conv_pos_batch_norm", "conv_pos_batch_norm"), self.conv_pos_batch_norm, has_batch_norm, tensor);
        let table = "encoder.layers.0.attention.rel_attn_embed.weight";
        let has_bias = config.position_bias().is_some();
        check.equal(("relative_position_embedding", "model_type"), self.relative_position_embedding, has_bias, table);
        if let ModelConfig::WavLm(wavlm) = config.model {
            check.equal(("num_buckets", "num_buckets"), self.num_buckets, wavlm.num_buckets, table);
        }
    }
}
