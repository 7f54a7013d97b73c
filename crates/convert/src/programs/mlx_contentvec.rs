//! mlx-contentvec: one file, whose names are nearly fairseq's. Its `ContentvecModel` keeps the weight norm live and takes
//! everything but the weights from the arguments of its constructor.

use mert_arch::naming::mlx_contentvec_names;
use mert_arch::{Activation, Config, Dtype, FeatureExtractorNorm, Layout, PositionalConv};

use super::hubert_graph::{self, Refusal, check_activation};
use super::{ModelClass, ModelFacts, WeightNormForm};

const CLASS: &str = "ContentvecModel";

pub(super) struct MlxContentvec;

impl ModelClass for MlxContentvec {
    fn layout(&self) -> Layout {
        Layout::Mlx
    }

    /// The class computes the weight from its factors and overwrites the fused one in each call; the fused one makes the
    /// file complete for a client that checks it.
    fn weight_norm(&self) -> WeightNormForm {
        WeightNormForm::FactorsAndFused
    }

    fn name(&self, hugging_face: &str) -> String {
        mlx_contentvec_names().from_hugging_face(hugging_face).map_or(hugging_face.into(), |other| other.name)
    }

    fn check(&self, config: &Config, dtype: Dtype, keeps_final_proj: bool) -> Result<(), Refusal> {
        hubert_graph::check(config, CLASS)?;
        if dtype != Dtype::F32 {
            let reason = match dtype {
                Dtype::Bf16 => "it cannot load this type; use f32",
                _ => "it computes in the type of its weights and would be far less precise; use f32",
            };
            return Err(Refusal::new("--dtype", dtype, reason));
        }
        if keeps_final_proj {
            return Err(Refusal::new("--keep", "final_proj", format!("{CLASS} refuses tensors that it does not have")));
        }
        if !config.feat_proj_layer_norm {
            let reason = format!("{CLASS} always begins its projection with a LayerNorm");
            return Err(Refusal::new("feat_proj_layer_norm", false, reason));
        }
        if config.feature_size() == config.hidden_size {
            let reason = format!("{CLASS} has no projection if it is the width of the last convolution, too");
            return Err(Refusal::new("hidden_size", config.hidden_size, reason));
        }
        if config.layer_norm_eps != Config::FEATURE_EXTRACTOR_NORM_EPS {
            return Err(Refusal::new("layer_norm_eps", config.layer_norm_eps, format!("{CLASS} has 1e-5")));
        }
        check_activation("feat_extract_activation", config.feat_extract_activation, &[Activation::Gelu], CLASS)?;
        check_activation("hidden_act", config.hidden_act, &[Activation::Gelu, Activation::Relu], CLASS)
    }

    fn notes(&self, model: &ModelFacts<'_>) -> Vec<String> {
        let construct = match &arguments(model.config)[..] {
            [] => format!("{CLASS}.from_pretrained(weights_path=…)"),
            arguments => format!(
                "model = {CLASS}(encoder_layers_1=0, {}), then model.load_weights(…) and model.eval(): from_pretrained is \
                 for the architecture of HuBERT base",
                arguments.join(", ")
            ),
        };
        let mut notes = vec![format!("load it with {construct}")];
        if model.preprocessor.do_normalize {
            notes.push(format!("{CLASS} takes the samples as they are: normalise them to zero mean and unit variance"));
        }
        if model.config.do_stable_layer_norm {
            notes.push(format!(
                "{CLASS} leaves the last LayerNorm out of output_layer={}: call it without output_layer for the last hidden state",
                model.config.num_hidden_layers
            ));
        }
        notes.extend(hubert_graph::note(model.config, CLASS));
        notes
    }
}

/// The arguments of the constructor in which a model differs from HuBERT base, in Python.
fn arguments(config: &Config) -> Vec<String> {
    let base = Config::default();
    let mut arguments = Vec::new();
    let mut sizes = |name: &str, value: usize, default: usize| {
        if value != default {
            arguments.push(format!("{name}={value}"));
        }
    };
    sizes("encoder_embed_dim", config.hidden_size, base.hidden_size);
    sizes("encoder_ffn_embed_dim", config.intermediate_size, base.intermediate_size);
    sizes("encoder_attention_heads", config.num_attention_heads, base.num_attention_heads);
    sizes("encoder_layers", config.num_hidden_layers, base.num_hidden_layers);
    let positional: PositionalConv = config.positional_conv();
    sizes("conv_pos", positional.kernel(), base.num_conv_pos_embeddings);
    sizes("conv_pos_groups", positional.groups(), base.num_conv_pos_embedding_groups);
    let convolutions = |config: &Config| -> Vec<String> {
        let sizes = config.conv_dim.iter().zip(&config.conv_kernel).zip(&config.conv_stride);
        sizes.map(|((dim, kernel), stride)| format!("({dim},{kernel},{stride})")).collect()
    };
    if convolutions(config) != convolutions(&base) {
        arguments.push(format!("conv_feature_layers=\"[{}]\"", convolutions(config).join(",")));
    }
    if config.conv_bias {
        arguments.push("conv_bias=True".into());
    }
    if config.feat_extract_norm == FeatureExtractorNorm::Layer {
        arguments.push("extractor_mode=\"layer_norm\"".into());
    }
    if config.do_stable_layer_norm {
        arguments.push("layer_norm_first=True".into());
    }
    if config.hidden_act == Activation::Relu {
        arguments.push("activation_fn=\"relu\"".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use mert_arch::{ModelConfig, Preprocessor};

    use super::*;

    #[test]
    fn every_field_that_the_class_lacks_is_refused() {
        let base = Config::default;
        let check = |config: Config| MlxContentvec.check(&config, Dtype::F32, false).map_err(|refusal| refusal.field);
        assert_eq!(check(base()), Ok(()));
        for (config, field) in [
            (Config { feat_proj_layer_norm: false, ..base() }, "feat_proj_layer_norm"),
            (Config { hidden_size: 512, num_attention_heads: 8, ..base() }, "hidden_size"),
            (Config { layer_norm_eps: 1e-6, ..base() }, "layer_norm_eps"),
            (Config { feat_extract_activation: Activation::Relu, ..base() }, "feat_extract_activation"),
            (Config { hidden_act: Activation::GeluTanh, ..base() }, "hidden_act"),
            (Config { deepnorm: true, ..Config::mert_v1_95m() }, "deepnorm"),
            (ModelConfig::WavLm(Default::default()).default_config(), "num_buckets"),
            (ModelConfig::Data2VecAudio(Default::default()).default_config(), "conv_pos_kernel_size"),
        ] {
            assert_eq!(check(config), Err(field));
        }
        for (dtype, keep, field) in
            [(Dtype::F16, false, "--dtype"), (Dtype::Bf16, false, "--dtype"), (Dtype::F32, true, "--keep")]
        {
            assert_eq!(MlxContentvec.check(&base(), dtype, keep).unwrap_err().field, field);
        }
    }

    #[test]
    fn notes_have_the_arguments_of_the_constructor() {
        let notes = |config: &Config, do_normalize| {
            let preprocessor = Preprocessor { do_normalize, sampling_rate: 16_000 };
            let facts =
                ModelFacts { config, dtype: Dtype::F32, preprocessor, final_proj: None, masked_spec_embed: false };
            MlxContentvec.notes(&facts).join("; ")
        };
        assert_eq!(notes(&Config::default(), false), "load it with ContentvecModel.from_pretrained(weights_path=…)");
        let large = Config {
            hidden_size: 1024,
            do_stable_layer_norm: true,
            conv_bias: true,
            feat_extract_norm: FeatureExtractorNorm::Layer,
            conv_stride: vec![5, 2, 2, 2, 2, 2, 1],
            hidden_act: Activation::Relu,
            ..Config::mert_v1_95m()
        };
        let notes = notes(&large, true);
        for part in [
            "encoder_embed_dim=1024, conv_feature_layers=\"[(512,10,5),(512,3,2)",
            "(512,2,1)]\", conv_bias=True, extractor_mode=\"layer_norm\", layer_norm_first=True, activation_fn=\"relu\")",
            "normalise",
            "MERT",
        ] {
            assert!(notes.contains(part), "{notes}");
        }
    }
}
