//! The names that other implementations give to the encoder's tensors, as tables of rows beside the Hugging Face names.
//!
//! A table is a list of [`Row`]s, each a pattern of Hugging Face names beside the pattern of the other implementation; it
//! is read in both directions. A further implementation is one file with its rows, and its line in
//! [`NamingScheme::table`].
//! - `pattern.rs`: patterns of names; `table.rs`: rows and tables.
//! - `fairseq.rs`, `torchaudio.rs`, `wavlm.rs`: the rows of an implementation, and its tensors that only training uses.
//! - `mlx_contentvec.rs`, `mlx_hubert.rs`: the names of programs for which models are only written.
//! - `musicgen/`: the names of MusicGen's tensors, in a table of their own.
//! - `variant.rs`: the parts of a model whose names depend on its architecture.

mod fairseq;
mod mlx_contentvec;
mod mlx_hubert;
mod musicgen;
mod pattern;
mod table;
mod torchaudio;
mod variant;
mod wavlm;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::mlx_contentvec::mlx_contentvec_names;
pub use self::mlx_hubert::mlx_hubert_names;
pub use self::musicgen::{MusicgenKey, MusicgenNames, musicgen_key};
pub use self::table::{HuggingFaceNames, NameTable, OtherName, Row};
pub use self::variant::{PositionalNames, Variant};
use crate::CONV0_WEIGHT;

/// The implementation whose names a checkpoint's tensors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamingScheme {
    /// transformers' `HubertModel` and its relatives.
    #[default]
    HuggingFace,
    /// [fairseq](https://github.com/facebookresearch/fairseq): `encoder.layers.0.self_attn.q_proj.weight`.
    Fairseq,
    /// [torchaudio](https://docs.pytorch.org/audio/stable/models.html):
    /// `encoder.transformer.layers.0.attention.q_proj.weight`.
    Torchaudio,
    /// Microsoft's [original WavLM](https://github.com/microsoft/unilm/tree/master/wavlm): fairseq's names, and
    /// `self_attn.grep_a`.
    WavLm,
}

impl std::fmt::Display for NamingScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NamingScheme::HuggingFace => "Hugging Face",
            NamingScheme::Fairseq => "fairseq",
            NamingScheme::Torchaudio => "torchaudio",
            NamingScheme::WavLm => "the original WavLM",
        })
    }
}

/// The name of the weight of convolution 0 in fairseq and the original WavLM, as [`CONV0_WEIGHT`] for Hugging Face.
pub const FAIRSEQ_CONV0_WEIGHT: &str = "feature_extractor.conv_layers.0.0.weight";

/// The prefixes of the models among `keys`, each with its naming scheme.
///
/// The weight of the first convolution marks a model. torchaudio's has the name that transformers gives it; the names
/// `encoder.transformer.…` under the same prefix show torchaudio.
pub fn find_schemes<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> BTreeMap<String, NamingScheme> {
    let mut found: BTreeMap<String, NamingScheme> = keys.clone().filter_map(marked).collect();
    for key in keys {
        let shows = |module: &str, marked: NamingScheme| {
            let prefix = &key[..key.find(module)?];
            found.get(prefix).is_some_and(|scheme| *scheme == marked).then(|| prefix.to_string())
        };
        if let Some(prefix) = shows(torchaudio::TRANSFORMER, NamingScheme::HuggingFace) {
            found.insert(prefix, NamingScheme::Torchaudio);
        } else if wavlm::has_own_component(key)
            && let Some(prefix) = shows(wavlm::LAYERS, NamingScheme::Fairseq)
        {
            found.insert(prefix, NamingScheme::WavLm);
        }
    }
    found
}

/// The prefix of a model and its scheme, if a key is the weight of convolution 0.
fn marked(key: &str) -> Option<(String, NamingScheme)> {
    let markers = [(CONV0_WEIGHT, NamingScheme::HuggingFace), (FAIRSEQ_CONV0_WEIGHT, NamingScheme::Fairseq)];
    markers.into_iter().find_map(|(marker, scheme)| {
        let prefix = key.strip_suffix(marker).filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))?;
        Some((prefix.to_string(), scheme))
    })
}

impl NamingScheme {
    /// The table of a scheme, for a model of this variant; empty for Hugging Face.
    pub fn table(self, variant: Variant) -> NameTable {
        let parts: &[&[Row]] = match self {
            NamingScheme::HuggingFace => &[],
            NamingScheme::Fairseq => &[fairseq::COMMON, fairseq::norms(variant), fairseq::positional(variant)],
            NamingScheme::WavLm => {
                &[wavlm::ROWS, fairseq::COMMON, fairseq::norms(variant), fairseq::positional(variant)]
            }
            NamingScheme::Torchaudio => &[torchaudio::attention(variant.position_bias), torchaudio::COMMON],
        };
        NameTable::new(parts.iter().copied().flatten().copied().collect())
    }

    /// The reason to leave out a tensor of this scheme that only training or a task head uses, by its name without the
    /// prefix of the model, or by its whole name if it is outside; `None` for any other name.
    pub fn training_only_reason(self, name: &str) -> Option<&'static str> {
        match self {
            NamingScheme::HuggingFace => None,
            NamingScheme::Fairseq | NamingScheme::WavLm => fairseq::training_only_reason(name),
            NamingScheme::Torchaudio => torchaudio::training_only_reason(name),
        }
    }
}

#[cfg(test)]
mod tests;
