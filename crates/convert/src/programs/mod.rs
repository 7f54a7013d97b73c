//! The programs for which a model can be written beside this toolkit's own files: the names, layout, weight norm and files
//! that the model class of each reads, and the models that it cannot compute.
//!
//! - this file: the programs, and what is asked of each.
//! - `mlx_contentvec.rs`, `mlx_hubert.rs`, `hugging_face.rs`: one program each.
//! - `hubert_graph.rs`: the refusal of what a class of HuBERT does not compute; `files.rs`: the files beside the weights.

mod files;
mod hubert_graph;
mod hugging_face;
mod mlx_contentvec;
mod mlx_hubert;

use std::fmt;
use std::str::FromStr;

use mert_arch::{Config, Dtype, Layout, Preprocessor};
use serde::Serialize;

pub use self::files::{MODEL_FOLDER_FILES, MODEL_WEIGHTS};
pub(crate) use self::files::{config_fields, json_text, preprocessor_companion};
pub(crate) use self::hubert_graph::Refusal;

/// A program whose model class loads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Program {
    /// [mlx-contentvec](https://pypi.org/project/mlx-contentvec/) 0.1.1, `ContentvecModel`: one file.
    #[serde(rename = "mlx-contentvec")]
    MlxContentvec,
    /// [mlx-hubert](https://pypi.org/project/mlx-hubert/) 0.1.0, `HubertModel`: a folder.
    #[serde(rename = "mlx-hubert")]
    MlxHubert,
    /// [transformers](https://huggingface.co/docs/transformers), the family's class: a folder.
    #[serde(rename = "hf")]
    HuggingFace,
}

/// The form in which a program reads the weight of the positional convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightNormForm {
    /// One weight.
    Fused,
    /// The magnitude g and the direction v.
    Factors,
    /// The factors, and the weight that they give.
    FactorsAndFused,
}

/// What the files beside the weights are written from.
pub(crate) struct ModelFacts<'a> {
    /// The architecture.
    pub(crate) config: &'a Config,
    /// The element type of the weights.
    pub(crate) dtype: Dtype,
    /// The audio input.
    pub(crate) preprocessor: Preprocessor,
    /// The number of outputs of the head `final_proj`, if it is kept.
    pub(crate) final_proj: Option<usize>,
    /// Whether the weights hold `masked_spec_embed`.
    pub(crate) masked_spec_embed: bool,
}

/// A file beside the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Companion {
    /// The name in the folder.
    pub(crate) name: &'static str,
    /// The text.
    pub(crate) text: String,
}

/// What a program's model class reads.
pub(crate) trait ModelClass {
    /// The layout of the convolutions.
    fn layout(&self) -> Layout;

    /// The form of the positional convolution's weight, if the model has weight norm.
    fn weight_norm(&self) -> WeightNormForm;

    /// The name of a tensor, by its Hugging Face name without prefix.
    fn name(&self, hugging_face: &str) -> String;

    /// Refuses a model that the class computes otherwise, and options that it cannot read.
    fn check(&self, config: &Config, dtype: Dtype, keeps_final_proj: bool) -> Result<(), Refusal>;

    /// Whether `masked_spec_embed` is written if the checkpoint has it.
    fn has_masked_spec_embed(&self) -> bool {
        false
    }

    /// The 64-bit integers that the class has beside its weights. They are written as zero.
    fn counters(&self, _config: &Config) -> Vec<String> {
        Vec::new()
    }

    /// The files beside the weights; none if the output is a single file.
    fn companions(&self, _model: &ModelFacts<'_>) -> Vec<Companion> {
        Vec::new()
    }

    /// What a user of the output must know, a sentence each.
    fn notes(&self, model: &ModelFacts<'_>) -> Vec<String>;
}

impl Program {
    /// Every program, in the order in which help texts list them.
    pub const ALL: [Program; 3] = [Program::MlxContentvec, Program::MlxHubert, Program::HuggingFace];

    /// The name on command lines and in the metadata of a file.
    pub const fn name(self) -> &'static str {
        match self {
            Program::MlxContentvec => "mlx-contentvec",
            Program::MlxHubert => "mlx-hubert",
            Program::HuggingFace => "hf",
        }
    }

    /// Whether the output is a folder, with the configuration beside the weights.
    pub const fn is_folder(self) -> bool {
        !matches!(self, Program::MlxContentvec)
    }

    /// The element type in which the program's models are usually stored.
    pub const fn default_dtype(self) -> Dtype {
        Dtype::F32
    }

    /// What the program's class reads.
    pub(crate) fn class(self) -> &'static dyn ModelClass {
        match self {
            Program::MlxContentvec => &mlx_contentvec::MlxContentvec,
            Program::MlxHubert => &mlx_hubert::MlxHubert,
            Program::HuggingFace => &hugging_face::HuggingFace,
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Program::ALL.into_iter().find(|program| program.name() == text);
        found.ok_or_else(|| format!("unknown program `{text}`: expected mlx-contentvec, mlx-hubert or hf"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for program in Program::ALL {
            assert_eq!(program.name().parse(), Ok(program));
            assert_eq!(serde_json::to_string(&program).unwrap(), format!("\"{program}\""));
        }
        assert!("mlx".parse::<Program>().is_err());
    }
}
