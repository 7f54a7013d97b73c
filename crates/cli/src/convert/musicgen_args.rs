//! The options of `mert-convert` for MusicGen, and the programs of `--for`, of which some are for encoders and one is for MusicGen.

use std::path::PathBuf;
use std::str::FromStr;

use mert_arch::Dtype;
use mert_arch::naming::MusicgenNames;
use mert_convert::Program;

use crate::values::one_of;

/// The options of MusicGen.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "MusicGen")]
pub(super) struct MusicgenArgs {
    /// The base model of an Instruct-MusicGen checkpoint, audiocraft's state_dict.bin or facebook/musicgen-large on the hub: it
    /// states the number of heads, and has the tensors that a .ckpt of the adapter alone lacks
    #[arg(long, value_name = "FILE")]
    pub(super) base: Option<PathBuf>,
    /// The codec to put into the bundle: audiocraft's compression_state_dict.bin, a folder of EnCodec or MusicGen of
    /// transformers, or a model of the hub such as facebook/encodec_32khz [default: the one in a MusicGen of transformers]
    #[arg(long, value_name = "PATH")]
    pub(super) codec: Option<PathBuf>,
    /// The text encoder to put into the bundle: google-t5/t5-base on the hub, or a folder of it with its tokenizer.json [default: the one in a MusicGen of
    /// transformers]
    #[arg(long, value_name = "FOLDER")]
    pub(super) t5: Option<PathBuf>,
    /// The names of the language model's tensors: mlx (mlx-examples' after `lm.`), hf (transformers') or upstream
    /// (audiocraft's, with q, k and v apart) [default: mlx]
    #[arg(long, value_name = "NAMES", value_parser = one_of::<MusicgenNames>(vec!["mlx", "hf", "upstream"]))]
    pub(super) names: Option<MusicgenNames>,
    /// The element type of the codec [default: f32: a rounded codec returns other codes]
    #[arg(long, value_name = "DTYPE")]
    pub(super) codec_dtype: Option<Dtype>,
    /// The element type of the text encoder [default: f16]
    #[arg(long, value_name = "DTYPE")]
    pub(super) t5_dtype: Option<Dtype>,
}

impl MusicgenArgs {
    /// The name of the first option that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--base", self.base.is_some()),
            ("--codec", self.codec.is_some()),
            ("--t5", self.t5.is_some()),
            ("--names", self.names.is_some()),
            ("--codec-dtype", self.codec_dtype.is_some()),
            ("--t5-dtype", self.t5_dtype.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// A value of `--for`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForProgram {
    /// A program for encoders.
    Encoder(Program),
    /// The class `MusicGen` of mlx-examples.
    MlxExamples,
}

/// The name of mlx-examples on command lines.
const MLX_EXAMPLES: &str = "mlx-examples";

impl ForProgram {
    /// Every value, in the order in which help texts list them.
    pub(super) fn names() -> Vec<&'static str> {
        Program::ALL.map(Program::name).into_iter().chain([MLX_EXAMPLES]).collect()
    }
}

impl FromStr for ForProgram {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            MLX_EXAMPLES => Ok(ForProgram::MlxExamples),
            other => other.parse().map(ForProgram::Encoder),
        }
    }
}
