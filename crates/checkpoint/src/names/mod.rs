//! The meaning of tensor names: the model's prefix, the names of wrappers, other implementations, modified weights.
//!
//! - `encoder.rs`: whether a name is inside the encoder's modules.
//! - `prefix.rs`: the part of a key before the Hugging Face name.
//! - `wrappers.rs`: the names of wrapper modules within a key.
//! - `other_models.rs`: names of other implementations of the same models.
//! - `modifications.rs`: names that show modified weights (LoRA, quantization, FSDP's flat parameters).
//! - `components.rs`: the match of a name's dot-separated components with patterns; `nearest.rs`: the nearest name.

mod components;
mod encoder;
mod modifications;
mod nearest;
mod other_models;
mod prefix;
mod wrappers;

pub use components::has_component;
pub use encoder::is_in_encoder;
pub use modifications::modification_in_encoder;
pub(crate) use modifications::quantization_in_encoder;
pub use nearest::nearest;
pub use other_models::modified_weights;
pub use prefix::{Prefix, find_prefix};
pub(crate) use wrappers::strip_wrappers;
