//! The forward pass of MERT, HuBERT and their relatives (wav2vec 2.0, WavLM, data2vec, …): hidden states of audio, on the
//! CPU, Metal or CUDA.
//!
//! ```
//! use mert_runtime::{DeviceKind, Dtype, Model};
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/model.safetensors");
//! # // let path = "model.safetensors";
//! let model = Model::open(path.as_ref(), Dtype::F32, &DeviceKind::Cpu.open()?)?;
//! // One second of mono audio at the model's rate, with zero mean and unit variance.
//! let samples: Vec<f32> = (0..24_000).map(|i| (i as f32 * 0.1).sin() * std::f32::consts::SQRT_2).collect();
//! let states = model.hidden_states(&samples, &[6])?; // hidden state 6 is the output of layer 6
//! assert_eq!(states[0].dims(), [1, 74, model.config().hidden_size]); // (batch, frames, width)
//! # Ok::<(), mert_runtime::Error>(())
//! ```
//!
//! There are two engines behind [`Model`]: `cpu`, packed and vectorised, for f32, bf16 and int8 on the processor, and `candle`, in
//! candle's own operations, for GPUs and for f16. In both, modules bear the names of the
//! checkpoint's own: `feature_extractor`, `feature_projection`, `encoder`.

mod candle;
mod converted_file;
mod cpu;
mod device;
mod error;
mod model;
mod quantized;

/// Checks that the environment variable `MERT_ISA`, which names the instruction set of the CPU's kernels for tests and
/// measurements, names one of this processor: `avx512`, `avx2`, `neon` or `portable`. Loading a model ignores another name.
///
/// # Errors
/// A sentence about its value.
pub fn check_instruction_set() -> Result<(), String> {
    mert_simd::Isa::check_environment()
}

/// The instruction set of the CPU's kernels, with the instructions that multiply bf16 numbers and 8-bit integers.
pub fn instruction_set() -> String {
    cpu::instruction_set()
}

/// True if the CPU computes with tile registers (AMX) in `compute`.
pub fn uses_tile_registers(compute: ComputeType) -> bool {
    cpu::uses_tile_registers(compute)
}

/// The numbers besides f32 with which the CPU computes faster, as far as its instructions tell.
pub fn fast_compute_types() -> Vec<ComputeType> {
    cpu::fast_compute_types()
}

/// The crate whose types this API names, in the version that it is built with.
pub use candle_core;
/// A source of named tensors on a device, from which [`Model::load`] takes the weights.
pub use candle_nn::VarBuilder;
pub use converted_file::ConvertedFile;
pub use device::DeviceKind;
pub use error::Error;
/// The numbers that the forward pass computes with, whatever the dtype of the file, and the float types.
///
/// On the CPU f32, bf16 and int8 are fast where the processor has instructions for them; f16 is slow, and shows without a GPU
/// what its arithmetic costs in accuracy. GPUs have the float types.
pub use mert_arch::{ComputeType, Dtype};
pub use model::{Model, Workspace};
