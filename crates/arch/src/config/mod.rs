//! The configuration: the fields of a `config.json` that the forward pass depends on.

mod architecture;
mod class_fields;
mod error;
mod field;
mod json;
mod position_bias;
mod positional_conv;
mod validate;

pub use architecture::{Config, FeatureExtractorNorm};
pub use error::ConfigError;
pub use field::ConfigField;
pub(crate) use json::{parse, value_from_json};
pub use position_bias::PositionBias;
pub use positional_conv::PositionalConv;
pub(crate) use validate::check_sample_rate;
