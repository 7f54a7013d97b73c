//! The MERT/HuBERT architecture as data.
//!
//! Everything here is a plain value or a pure function of one: the configuration ([`Config`]), the
//! tensors that a configuration implies ([`inventory`]), how a file may lay them out ([`Layout`]),
//! what a converted file says about itself ([`Metadata`]) and which published checkpoints are known
//! ([`KNOWN_CHECKPOINTS`]). There is no I/O and there are no numerics. It is all that the converter, the
//! runtime and the verifier share; what it says is checked against transformers' own results.

mod activation;
mod config;
mod config_field;
mod cost;
mod dtype;
mod infer;
mod inventory;
mod known;
mod layout;
mod metadata;
mod model_files;
mod preprocessor;
mod printable;
mod selection;
mod text;
pub mod weight_norm;

pub use activation::Activation;
pub use config::{Config, ConfigError, FeatureExtractorNorm};
pub use config_field::ConfigField;
pub use cost::{attention_flops, forward_flops};
pub use dtype::Dtype;
pub use infer::{InferError, Inferred, infer_config};
pub use inventory::{CONV0_WEIGHT, Role, TensorSpec, inventory, training_only_reason};
pub use known::{KNOWN_CHECKPOINTS, KnownCheckpoint, known_by_sha256};
pub use layout::Layout;
pub use metadata::{Metadata, MetadataError};
pub use model_files::{ADAPTER_CONFIG_FILE, CONFIG_FILE, PREPROCESSOR_FILES, WEIGHT_FILES};
pub use preprocessor::{Preprocessor, PreprocessorConfig};
pub use printable::{printable, printable_line};
pub use selection::{LayerSelection, SelectionError};
pub use text::{json_from_text, text_from_bytes};
