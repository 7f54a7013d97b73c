//! EnCodec ([Défossez et al. 2022](https://arxiv.org/abs/2210.13438)), the codec of MusicGen: a configuration of its own,
//! because it shares neither fields nor tensors with the encoders beside it.
//! - `config.rs`: the fields of transformers' `EncodecConfig`, checked.
//! - `audiocraft.rs`: the same fields from the `xp.cfg` of an audiocraft file.
//! - `tensors.rs`: the tensors that a configuration implies, in transformers' names and in mlx-examples'.
//! - `names.rs`: the names of audiocraft, and the spellings of weight norm.

mod audiocraft;
mod config;
mod names;
mod tensors;

pub use self::config::{EncodecConfig, PadMode};
pub use self::names::{EncodecWeightNorm, encodec_training_only_reason, encodec_weight_norms, hf_encodec_name};
pub use self::tensors::{EncodecMlxTensor, EncodecRole, EncodecTensor};
