//! The head that a converted file can keep beside the encoder: `final_proj`, a linear map of each frame of a hidden
//! state. Voice conversion takes its output.

use crate::{Config, Role, TensorSpec};

/// The module's name, in fairseq's HuBERT and ContentVec and in the model class of
/// [RVC](https://github.com/RVC-Project/Retrieval-based-Voice-Conversion-WebUI).
pub const FINAL_PROJ: &str = "final_proj";

/// The tensors of a `final_proj` with `size` outputs, beside a model with the configuration `config`.
pub fn final_proj_inventory(config: &Config, size: usize) -> [TensorSpec; 2] {
    [
        TensorSpec { name: format!("{FINAL_PROJ}.weight"), shape: vec![size, config.hidden_size], role: Role::Linear },
        TensorSpec { name: format!("{FINAL_PROJ}.bias"), shape: vec![size], role: Role::Bias },
    ]
}
