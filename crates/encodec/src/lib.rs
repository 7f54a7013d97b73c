//! EnCodec ([Défossez et al. 2022](https://arxiv.org/abs/2210.13438)) at 32 kHz, the codec of MusicGen: samples to codes and
//! codes to samples.
//!
//! [`Encodec`] computes what transformers'
//! [`EncodecModel`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/encodec/modeling_encodec.py)
//! does for `facebook/encodec_32khz` and models of its kind: mono, not causal, clips as a whole, no loudness. It opens a
//! folder of transformers and one of mlx-examples, and tells them apart by their tensors' names.
//!
//! ```
//! use candle_core::Device;
//! use mert_encodec::Encodec;
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/encodec-tiny");
//! let codec = Encodec::open(folder.as_ref(), &Device::Cpu)?;
//! let samples: Vec<f32> = (0..1600).map(|i| (i as f32 * 0.05).sin()).collect();
//! let codes = codec.encode(&samples)?;
//! assert_eq!((codes.len(), codes[0].len()), (4, 3)); // codebooks, frames: the last one is half sound
//! assert_eq!(codec.decode(&codes)?.len(), 3 * codec.hop_length());
//! # Ok::<(), mert_encodec::EncodecError>(())
//! ```
//!
//! # Map
//! - `weights.rs`: the tensors of a checkpoint, each accounted for, in one order whatever the folder's.
//! - `padding.rs`, `conv.rs`, `elu.rs`, `lstm.rs`: the layers, over rows of channels.
//! - `residual.rs`, `encoder.rs`, `decoder.rs`: SEANet.
//! - `segments.rs`: pieces of a long clip that overlap by what the convolutions see, so that memory does not grow with it.
//! - `quantizer.rs`: residual vector quantization.
//! - `model.rs`: all of it behind one type.

mod conv;
mod decoder;
mod elu;
mod encoder;
mod error;
mod lstm;
mod model;
mod padding;
mod quantizer;
mod residual;
mod segments;
mod weights;

pub use error::EncodecError;
pub use model::Encodec;

pub(crate) type Result<T, E = EncodecError> = std::result::Result<T, E>;
