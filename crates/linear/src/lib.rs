//! Products of activations with weights as they are stored in a file: floats, and MLX's affine codes of 2 to 8 bits.
//!
//! A [`Linear`] holds the bytes of a safetensors file, mapped, and decodes them as they enter the registers: one pass
//! over the weight for a step of a language model, and tiles of it for a product with many rows. Beside it are the small
//! kernels that such a model needs: [`layer_norm`], [`gelu`], [`softmax`] and [`attention`].
//!
//! ```
//! use mert_arch::{Quantization, QuantizationMode, Dtype};
//! use mert_linear::{Bytes, Linear};
//!
//! // One row of 32 codes 0, 1, … 15, 0, 1, … with scale 0.5 and bias -1.
//! let codes: Vec<u8> = (0..16).map(|i| (2 * i % 16) | ((2 * i + 1) % 16) << 4).collect();
//! let (scale, bias) = (0.5f32.to_le_bytes().to_vec(), (-1f32).to_le_bytes().to_vec());
//! let quantization = Quantization::new(QuantizationMode::Affine, 4, 32)?;
//! let linear = Linear::quantized(1, 32, quantization, Dtype::F32, codes.into(), scale.into(), bias.into())?;
//! let mut y = [0.0];
//! linear.forward(&[1.0; 32], &mut y);
//! assert_eq!(y, [0.5 * 240.0 - 32.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(target_endian = "big")]
compile_error!("weights are read as they are stored, which is little-endian");

pub mod attention;
mod awake;
mod bytes;
mod decode;
mod digits;
mod error;
mod exp;
mod gelu;
mod gemm;
mod layer_norm;
mod linear;
mod matvec;
mod panel;
mod prepared;
mod softmax;
mod unroll;
mod vector;

pub use awake::with_awake_threads;
pub use bytes::Bytes;
pub use error::LinearError;
pub use gelu::gelu;
pub use layer_norm::{LayerNorm, layer_norm};
pub use linear::Linear;
pub use softmax::softmax;
pub use vector::isa;
