//! The training configuration in fairseq's checkpoints (`cfg`, or `args` in old ones), which takes the place of a
//! `config.json`.
//!
//! - `value.rs`: a configuration as plain values; `fields.rs`: access to them with errors that name the field.
//! - `conv_feature_layers.rs`: the Python expression that lists the convolutions.
//! - `config.rs`: the fields that matter, as a struct; `architecture.rs`: what they say in the names of a `config.json`.
//! - `contradiction.rs`: what a configuration says that the tensors contradict.

mod architecture;
mod config;
mod contradiction;
mod conv_feature_layers;
mod fields;
mod value;

pub use self::architecture::StatedFields;
pub use self::config::{ExtractorMode, FairseqConfig, FairseqModel, FairseqTask};
pub use self::contradiction::Contradiction;
pub use self::conv_feature_layers::{ConvLayer, parse_conv_feature_layers};
pub use self::fields::FairseqError;
pub use self::value::CfgValue;

#[cfg(test)]
mod tests;
