//! The architecture of MERT, HuBERT and their relatives as data.
//!
//! Everything here is a plain value or a pure function of one: the configuration ([`Config`]), the tensors that a
//! configuration implies ([`inventory()`]), their order in a file ([`Layout`]), the metadata of a converted file
//! ([`Metadata`]) and the published checkpoints ([`KNOWN_CHECKPOINTS`]). There is no I/O and there are no numerics. It
//! is all that the converter, the runtime and the verifier share, and is tested against transformers' own results.
//!
//! ```
//! use mert_arch::{Config, Layout, inventory};
//!
//! let tensors = inventory(&Config::mert_v1_95m());
//! let conv = &tensors[0];
//! assert_eq!((tensors.len(), conv.name.as_str()), (209, "feature_extractor.conv_layers.0.conv.weight"));
//! assert_eq!(conv.shape, [512, 1, 10]); // (out, in, kernel), as PyTorch has it
//! assert_eq!(Layout::Mlx.shape_from_torch(conv.role, &conv.shape), [512, 10, 1]);
//! ```

mod activation;
mod compute_type;
mod config;
mod cost;
mod dtype;
mod encoding;
pub mod fairseq;
mod families;
mod final_proj;
mod infer;
mod int8_exceptions;
mod inventory;
mod known;
mod layout;
mod metadata;
mod model_files;
pub mod naming;
mod preprocessor;
mod printable;
mod quantization;
mod selection;
mod text;
pub mod weight_norm;

pub use activation::Activation;
pub use compute_type::ComputeType;
pub use config::{Config, ConfigError, ConfigField, FeatureExtractorNorm, PositionBias, PositionalConv};
pub use cost::{attention_flops, forward_flops};
pub use dtype::Dtype;
pub use encoding::{Encoding, StoredDtype, StoredTensor};
pub use families::{
    CpTransformer, Data2VecAudioConfig, EncodecConfig, EncodecMlxTensor, EncodecRole, EncodecTensor, EncodecWeightNorm,
    FamilyNames, HubertConfig, MUSICGEN_HEAD_DIM, ModelConfig, MusicgenConfig, MusicgenDecoder, PadMode, T5Config,
    T5FeedForward, WavLmConfig, encodec_training_only_reason, encodec_weight_norms, families_of_tensors,
    hf_encodec_name, t5_left_out_reason, training_only_reason,
};
pub use final_proj::{FINAL_PROJ, final_proj_inventory};
pub use infer::{InferError, InferredConfig, infer_config};
pub use int8_exceptions::{Int8Exceptions, Int8Module, int8_modules};
pub use inventory::{CONV0_WEIGHT, Role, TensorSpec, inventory};
pub use known::{KNOWN_CHECKPOINTS, KnownCheckpoint, known_by_sha256};
pub use layout::Layout;
pub use metadata::{Metadata, MetadataError, TARGET_KEY};
pub use model_files::{ADAPTER_CONFIG_FILE, CONFIG_FILE, PREPROCESSOR_FILES, WEIGHT_FILES};
pub use preprocessor::{Preprocessor, PreprocessorConfig};
pub use printable::{printable, printable_line};
pub use quantization::{Quantization, QuantizationConfig, QuantizationMode};
pub use selection::{LayerSelection, SelectionError};
pub use text::{json_from_text, text_from_bytes};
