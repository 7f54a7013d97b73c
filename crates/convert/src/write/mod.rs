//! The output formats, a module for each, over the writing of tensors that they share.
//!
//! - `safetensors.rs`: one file, for MLX and candle; `model_folder.rs`: such a file in a folder, for other programs.
//! - `coreml/`: a Core ML package.
//! - `tensors.rs`: tensors in a file, in parallel; `output.rs`: the result, and the check of the output's path.

mod coreml;
mod model_folder;
mod output;
mod safetensors;
mod tensors;

pub use self::coreml::{
    CoreMlOptions, CoreMlProgram, DeploymentTarget, InputLengths, check_package_output, coreml, coreml_program,
};
pub use self::model_folder::{check_model_folder_output, model_folder};
pub use self::output::Written;
pub use self::safetensors::{safetensors, safetensors_len};
