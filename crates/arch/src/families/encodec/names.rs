//! The names that audiocraft gives to EnCodec's tensors, the spellings of weight norm, and the buffers of training.

use super::tensors::{EncodecRole, EncodecTensor};

/// The two names under which a checkpoint stores a weight with weight norm: w = g · v / ‖v‖, with a norm for each index of
/// the first axis, over the other two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodecWeightNorm {
    /// The name of the magnitude, `(n, 1, 1)`.
    pub g: String,
    /// The name of the direction, with the shape of the weight.
    pub v: String,
}

/// The spellings of a fused weight's name `….weight` under weight norm: `torch.nn.utils.weight_norm`, and
/// `torch.nn.utils.parametrizations.weight_norm` of torch 2.
pub fn encodec_weight_norms(fused: &str) -> [EncodecWeightNorm; 2] {
    let module = fused.strip_suffix(".weight").unwrap_or(fused);
    [("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")]
        .map(|(g, v)| EncodecWeightNorm { g: format!("{module}.{g}"), v: format!("{module}.{v}") })
}

/// The reason to leave out a tensor of a codec that only training uses; `None` for any other name.
pub fn encodec_training_only_reason(name: &str) -> Option<&'static str> {
    let is_buffer = [".embed_avg", ".cluster_size", ".inited"].iter().any(|suffix| name.ends_with(suffix));
    (is_buffer && name.contains("quantizer.")).then_some("updates a codebook in training only")
}

impl EncodecTensor {
    /// The name in audiocraft's `best_state`, with weight norm fused; its spellings there are those of
    /// [`encodec_weight_norms`].
    pub fn audiocraft_name(&self) -> String {
        let name = self.name.replacen("coder.layers.", "coder.model.", 1);
        match self.role {
            EncodecRole::Codebook => {
                name.replacen("quantizer.layers.", "quantizer.vq.layers.", 1).replacen(".codebook.", "._codebook.", 1)
            }
            EncodecRole::Conv1d | EncodecRole::Conv1dBias => name.replacen(".conv.", ".conv.conv.", 1),
            EncodecRole::ConvTranspose1d | EncodecRole::ConvTranspose1dBias => {
                name.replacen(".conv.", ".convtr.convtr.", 1)
            }
            _ => name,
        }
    }
}

/// The name in transformers' `EncodecModel` of a tensor of audiocraft, in whatever spelling of weight norm; a name that is
/// not audiocraft's is returned as it is.
pub fn hf_encodec_name(name: &str) -> String {
    name.replacen("coder.model.", "coder.layers.", 1)
        .replacen(".conv.conv.", ".conv.", 1)
        .replacen(".convtr.convtr.", ".conv.", 1)
        .replacen("quantizer.vq.layers.", "quantizer.layers.", 1)
        .replacen("._codebook.", ".codebook.", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EncodecConfig;

    #[test]
    fn audiocrafts_names_lead_there_and_back() {
        let config = EncodecConfig { use_conv_shortcut: true, ..EncodecConfig::default() };
        let tensors = config.inventory();
        for tensor in &tensors {
            assert_eq!(hf_encodec_name(&tensor.audiocraft_name()), tensor.name);
            assert_eq!(hf_encodec_name(&tensor.name), tensor.name);
        }
        let names: Vec<String> = tensors.iter().map(EncodecTensor::audiocraft_name).collect();
        // Names of audiocraft's own EncodecModel.
        for name in [
            "encoder.model.0.conv.conv.weight",
            "encoder.model.1.block.3.conv.conv.bias",
            "encoder.model.1.shortcut.conv.conv.weight",
            "encoder.model.13.lstm.weight_ih_l0",
            "decoder.model.3.convtr.convtr.weight",
            "decoder.model.3.convtr.convtr.bias",
            "decoder.model.4.block.1.conv.conv.weight",
            "quantizer.vq.layers.3._codebook.embed",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        let spelled = "decoder.model.3.convtr.convtr.parametrizations.weight.original0";
        let [old, new] = encodec_weight_norms("decoder.layers.3.conv.weight");
        assert_eq!(hf_encodec_name(spelled), new.g);
        assert_eq!(old.v, "decoder.layers.3.conv.weight_v");
    }

    #[test]
    fn buffers_of_training_are_left_out() {
        for name in ["quantizer.layers.0.codebook.embed_avg", "quantizer.vq.layers.0._codebook.inited"] {
            assert!(encodec_training_only_reason(name).is_some());
        }
        assert_eq!(encodec_training_only_reason("quantizer.layers.0.codebook.embed"), None);
    }
}
