//! The names of MusicGen's and Instruct-MusicGen's tensors in one table: a row of patterns for the same tensors.
//!
//! - this file: the naming schemes of files, and their table.
//! - `checkpoint.rs`: the meaning of a key in the checkpoints of audiocraft and Instruct-MusicGen, where a tensor can be a
//!   third of another, a part of a LoRA, an alias or unused.

mod checkpoint;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

pub use self::checkpoint::{MusicgenKey, musicgen_key};
use super::pattern::{captures, fill};

/// The names that a file of MusicGen's language model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MusicgenNames {
    /// The names of MLX bundles of MusicGen's relatives: mlx-examples' with `lm.` in front of the language model's. All of
    /// this toolkit uses these.
    #[default]
    Mlx,
    /// The names of the class `MusicGen` of [mlx-examples](https://github.com/ml-explore/mlx-examples/tree/main/musicgen).
    MlxExamples,
    /// The names of transformers' `MusicgenForConditionalGeneration`.
    #[serde(rename = "hf")]
    HuggingFace,
    /// The module names of audiocraft and Instruct-MusicGen, without prefixes and with q, k and v apart.
    Upstream,
}

/// The patterns of the same tensors: literal text, `{i}` for an index and a `*` at the end for the rest, such as `weight` or
/// the `scales` of a quantized weight.
struct Row {
    mlx: &'static str,
    hugging_face: &'static str,
    upstream: &'static str,
}

const ROWS: &[Row] = &[
    Row { mlx: "lm.emb.{i}.*", hugging_face: "decoder.model.decoder.embed_tokens.{i}.*", upstream: "emb.{i}.*" },
    Row {
        mlx: "lm.layers.{i}.self_attn.*",
        hugging_face: "decoder.model.decoder.layers.{i}.self_attn.*",
        upstream: "transformer.layers.{i}.self_attn.*",
    },
    Row {
        mlx: "lm.layers.{i}.cross_attn.*",
        hugging_face: "decoder.model.decoder.layers.{i}.encoder_attn.*",
        upstream: "transformer.layers.{i}.cross_attention.*",
    },
    Row {
        mlx: "lm.layers.{i}.linear1.*",
        hugging_face: "decoder.model.decoder.layers.{i}.fc1.*",
        upstream: "transformer.layers.{i}.linear1.*",
    },
    Row {
        mlx: "lm.layers.{i}.linear2.*",
        hugging_face: "decoder.model.decoder.layers.{i}.fc2.*",
        upstream: "transformer.layers.{i}.linear2.*",
    },
    Row {
        mlx: "lm.layers.{i}.norm1.*",
        hugging_face: "decoder.model.decoder.layers.{i}.self_attn_layer_norm.*",
        upstream: "transformer.layers.{i}.norm1.*",
    },
    Row {
        mlx: "lm.layers.{i}.norm_cross.*",
        hugging_face: "decoder.model.decoder.layers.{i}.encoder_attn_layer_norm.*",
        upstream: "transformer.layers.{i}.norm_cross.*",
    },
    Row {
        mlx: "lm.layers.{i}.norm2.*",
        hugging_face: "decoder.model.decoder.layers.{i}.final_layer_norm.*",
        upstream: "transformer.layers.{i}.norm2.*",
    },
    Row { mlx: "lm.out_norm.*", hugging_face: "decoder.model.decoder.layer_norm.*", upstream: "out_norm.*" },
    Row { mlx: "lm.linears.{i}.*", hugging_face: "decoder.lm_heads.{i}.*", upstream: "linears.{i}.*" },
    Row {
        mlx: "text_conditioner.output_proj.*",
        hugging_face: "enc_to_dec_proj.*",
        upstream: "condition_provider.conditioners.description.output_proj.*",
    },
    Row { mlx: "cp_transformer.*", hugging_face: "cp_transformer.*", upstream: "cp_transformer.*" },
];

/// The beginning of the language model's names in [`MusicgenNames::Mlx`], which they lack in [`MusicgenNames::MlxExamples`].
const LM: &str = "lm.";

impl Row {
    fn pattern(&self, names: MusicgenNames) -> &'static str {
        match names {
            MusicgenNames::Mlx => self.mlx,
            MusicgenNames::MlxExamples => self.mlx.strip_prefix(LM).unwrap_or(self.mlx),
            MusicgenNames::HuggingFace => self.hugging_face,
            MusicgenNames::Upstream => self.upstream,
        }
    }
}

impl MusicgenNames {
    /// Every scheme, in the order in which help texts list them.
    pub const ALL: [MusicgenNames; 4] =
        [MusicgenNames::Mlx, MusicgenNames::MlxExamples, MusicgenNames::HuggingFace, MusicgenNames::Upstream];

    /// The name on command lines and in the field `names` of a bundle's `config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            MusicgenNames::Mlx => "mlx",
            MusicgenNames::MlxExamples => "mlx-examples",
            MusicgenNames::HuggingFace => "hf",
            MusicgenNames::Upstream => "upstream",
        }
    }

    /// The name in this scheme of a tensor, or of a part of its quantized form, by its name in [`MusicgenNames::Mlx`]; `None`
    /// for a name that no tensor of the model has.
    ///
    /// ```
    /// use mert_arch::naming::MusicgenNames;
    ///
    /// let name = "lm.layers.7.cross_attn.q_proj.scales";
    /// let hf = MusicgenNames::HuggingFace.from_mlx(name).unwrap();
    /// assert_eq!(hf, "decoder.model.decoder.layers.7.encoder_attn.q_proj.scales");
    /// assert_eq!(MusicgenNames::HuggingFace.to_mlx(&hf).unwrap(), name);
    /// ```
    pub fn from_mlx(self, name: &str) -> Option<String> {
        renamed(MusicgenNames::Mlx, self, name)
    }

    /// The name in [`MusicgenNames::Mlx`] of a tensor of this scheme; `None` for a name that no tensor of the model has.
    pub fn to_mlx(self, name: &str) -> Option<String> {
        renamed(self, MusicgenNames::Mlx, name)
    }
}

fn renamed(from: MusicgenNames, to: MusicgenNames, name: &str) -> Option<String> {
    ROWS.iter().find_map(|row| Some(fill(row.pattern(to), &captures(row.pattern(from), name)?)))
}

impl fmt::Display for MusicgenNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MusicgenNames {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = MusicgenNames::ALL.into_iter().find(|names| names.name() == text);
        found.ok_or_else(|| format!("unknown names `{text}`: expected mlx, mlx-examples, hf or upstream"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::MusicgenConfig;

    #[test]
    fn every_tensor_has_a_name_of_its_own_in_every_scheme() {
        let json = r#"{"model_type": "instruct_musicgen", "decoder": {"hidden_size": 64, "num_attention_heads": 4,
            "num_hidden_layers": 12, "num_codebooks": 8}, "text_encoder": {}, "audio_encoder": {},
            "cp_transformer": {"num_layers": 12, "max_frames": 501, "hidden_size": 64}}"#;
        let tensors = MusicgenConfig::from_json(json).unwrap().inventory();
        for names in MusicgenNames::ALL {
            assert_eq!(names.name().parse(), Ok(names));
            let mut found = BTreeSet::new();
            for spec in &tensors {
                let name = names.from_mlx(&spec.name).unwrap();
                assert_eq!(names.to_mlx(&name).as_ref(), Some(&spec.name), "{names}: {name}");
                found.insert(name);
            }
            assert_eq!(found.len(), tensors.len(), "{names}");
            for name in
                ["", "lm.emb.weight", "lm.layers.x.norm1.weight", "decoder.model.decoder.embed_positions.weights"]
            {
                assert_eq!(names.to_mlx(name), None, "{names}: {name}");
            }
        }
        assert!("mlx_examples".parse::<MusicgenNames>().unwrap_err().contains("mlx-examples"));
    }

    #[test]
    fn names_of_each_scheme() {
        for (mlx, examples, hf, upstream) in [
            ("lm.emb.3.weight", "emb.3.weight", "decoder.model.decoder.embed_tokens.3.weight", "emb.3.weight"),
            (
                "lm.layers.47.cross_attn.v_proj.weight",
                "layers.47.cross_attn.v_proj.weight",
                "decoder.model.decoder.layers.47.encoder_attn.v_proj.weight",
                "transformer.layers.47.cross_attention.v_proj.weight",
            ),
            (
                "lm.layers.0.norm2.bias",
                "layers.0.norm2.bias",
                "decoder.model.decoder.layers.0.final_layer_norm.bias",
                "transformer.layers.0.norm2.bias",
            ),
            ("lm.out_norm.bias", "out_norm.bias", "decoder.model.decoder.layer_norm.bias", "out_norm.bias"),
            ("lm.linears.0.weight", "linears.0.weight", "decoder.lm_heads.0.weight", "linears.0.weight"),
            (
                "text_conditioner.output_proj.bias",
                "text_conditioner.output_proj.bias",
                "enc_to_dec_proj.bias",
                "condition_provider.conditioners.description.output_proj.bias",
            ),
        ] {
            let found = MusicgenNames::ALL.map(|names| names.from_mlx(mlx).unwrap());
            assert_eq!(found, [mlx, examples, hf, upstream]);
        }
    }
}
