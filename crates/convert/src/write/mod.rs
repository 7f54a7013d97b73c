//! The output formats, a module for each, over the writing of tensors that they share.
//!
//! - `target.rs`: what every format does for a conversion; `choice.rs`: the format of an output.
//! - `safetensors.rs`: one file, for MLX and candle; `model_folder/`: such a file with those that describe it.
//! - `gguf/`: a GGUF file, for candle's quantized models; `coreml/`: a Core ML package.
//! - `fidelity.rs`: the measured errors of an output.
//! - `delta_kept.rs`: what the output has of an adapter's changes.
//! - `tensors.rs`: tensors in a file, in parallel; `output.rs`: the result, and the check of the output's path.

mod choice;
mod coreml;
mod delta_kept;
mod fidelity;
mod gguf;
mod model_folder;
mod output;
mod safetensors;
mod target;
mod tensors;

pub use self::choice::{TargetOptions, target_for};
pub use self::coreml::{
    CoreMlOptions, CoreMlPackage, CoreMlProgram, DeploymentTarget, InputLengths, coreml, coreml_program,
};
pub(crate) use self::delta_kept::check_delta_kept;
pub use self::delta_kept::{DeltaKept, LayerDelta};
pub use self::fidelity::{Fidelity, StateFidelity};
pub use self::gguf::Gguf;
pub use self::model_folder::{ByteSize, MAX_SHARD_SIZE, ModelFolder};
pub(crate) use self::model_folder::{
    CARD, INDEX_FILE, Shard, create, index_json, is_ours, is_shard, shards_of_steps, write_text,
};
pub use self::output::Written;
pub(crate) use self::safetensors::{Contents, WeightsFile, WeightsJob, WrittenWeights, file_len, write_weights};
pub use self::safetensors::{SafetensorsFile, safetensors, safetensors_len};
pub use self::target::{Inspect, PreparedOutput, Target, WriteJob, no_inspection};
pub(crate) use self::tensors::Origin;
