//! mlx-hubert: a folder with its own names and the metadata `format: mlx`, by which the package tells it from a folder of
//! transformers.

use mert_arch::naming::mlx_hubert_names;
use mert_arch::{Activation, Config, Dtype, FeatureExtractorNorm, HubertConfig, Layout, ModelConfig};
use serde_json::json;

use super::hubert_graph::{self, Refusal, check_activation};
use super::{Companion, ModelClass, ModelFacts, WeightNormForm, files};

const CLASS: &str = "mlx_hubert.HubertModel";

pub(super) struct MlxHubert;

impl ModelClass for MlxHubert {
    fn layout(&self) -> Layout {
        Layout::Mlx
    }

    fn weight_norm(&self) -> WeightNormForm {
        WeightNormForm::Fused
    }

    fn name(&self, hugging_face: &str) -> String {
        mlx_hubert_names().from_hugging_face(hugging_face).map_or(hugging_face.into(), |other| other.name)
    }

    fn check(&self, config: &Config, _: Dtype, keeps_final_proj: bool) -> Result<(), Refusal> {
        hubert_graph::check(config, CLASS)?;
        if keeps_final_proj {
            return Err(Refusal::new("--keep", "final_proj", format!("{CLASS} refuses tensors that it does not have")));
        }
        // The class has one epsilon for all LayerNorms; the architecture has PyTorch's in the feature extractor.
        if config.feat_extract_norm == FeatureExtractorNorm::Layer
            && config.layer_norm_eps != Config::FEATURE_EXTRACTOR_NORM_EPS
        {
            let reason = format!("{CLASS} would use it in the feature extractor, too, whose norms have 1e-5");
            return Err(Refusal::new("layer_norm_eps", config.layer_norm_eps, reason));
        }
        let supported = [Activation::Gelu, Activation::Relu];
        check_activation("feat_extract_activation", config.feat_extract_activation, &supported, CLASS)?;
        check_activation("hidden_act", config.hidden_act, &supported, CLASS)
    }

    fn companions(&self, model: &ModelFacts<'_>) -> Vec<Companion> {
        let hubert = Config { model: ModelConfig::Hubert(HubertConfig::default()), ..model.config.clone() };
        let mut config = files::config_fields(&hubert, false);
        // Without it, the package makes a model with a head for characters, and cannot load these weights.
        config.insert("architectures".into(), json!(["HubertModel"]));
        files::companions(config, model)
    }

    fn notes(&self, model: &ModelFacts<'_>) -> Vec<String> {
        let load = "load it with mlx_hubert.load_model(\"…\") and mlx_hubert.HubertProcessor.from_pretrained(\"…\")";
        [load.to_string()].into_iter().chain(hubert_graph::note(model.config, CLASS)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_the_class_lacks_is_refused() {
        let base = Config::default;
        let check = |config: Config| MlxHubert.check(&config, Dtype::F16, false).map_err(|refusal| refusal.field);
        let layer = FeatureExtractorNorm::Layer;
        assert_eq!(check(Config { layer_norm_eps: 1e-4, do_stable_layer_norm: true, ..base() }), Ok(()));
        assert_eq!(check(Config { feat_extract_norm: layer, feat_proj_layer_norm: false, ..base() }), Ok(()));
        for (config, field) in [
            (Config { feat_extract_norm: layer, layer_norm_eps: 1e-4, ..base() }, "layer_norm_eps"),
            (Config { feat_extract_activation: Activation::GeluTanh, ..base() }, "feat_extract_activation"),
            (Config { hidden_act: Activation::GeluTanh, ..base() }, "hidden_act"),
            (Config { deepnorm: true, ..Config::mert_v1_95m() }, "deepnorm"),
            (
                Config { model: ModelConfig::Hubert(HubertConfig { conv_pos_batch_norm: true }), ..base() },
                "conv_pos_batch_norm",
            ),
            (ModelConfig::WavLm(Default::default()).default_config(), "num_buckets"),
            (ModelConfig::Data2VecAudio(Default::default()).default_config(), "conv_pos_kernel_size"),
        ] {
            assert_eq!(check(config), Err(field));
        }
        assert_eq!(MlxHubert.check(&base(), Dtype::F32, true).unwrap_err().field, "--keep");
    }
}
