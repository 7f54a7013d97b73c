//! CLAP's audio tower on the CPU, and the choice of a mode by vectors of texts.
//!
//! [`ClapAudio`] computes what `ClapModel.get_audio_features` of
//! [transformers](https://github.com/huggingface/transformers/blob/main/src/transformers/models/clap) returns for
//! `laion/clap-htsat-unfused` and models of its kind: the log-mel spectrogram of `ClapFeatureExtractor`, HTSAT (a Swin
//! transformer), the projection, and a vector of length 1. The text tower is not here: the vectors of texts are computed
//! once, in Python, and kept in a file of [`Modes`]; a [`Classifier`] compares sound with them.
//!
//! ```
//! use mert_clap::{Classifier, ClapAudio, Modes, Settings};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/clap-tiny");
//! # let folder = std::path::Path::new(folder);
//! let clap = ClapAudio::open(folder)?;
//! let modes = Modes::read(&folder.join("modes.json"))?;
//! modes.check_checkpoint(clap.sha256())?;
//! let mut classifier = Classifier::new(modes, Settings::default())?;
//!
//! let sound: Vec<f32> = (0..24_000).map(|i| (f64::from(i) * 0.06).sin() as f32).collect(); // 0.5 s of 48 kHz
//! let decision = classifier.decide(10.0, &clap.embed(&sound)?)?;
//! println!("{:?} {:.3} {:?}", decision.best, decision.score, decision.mode);
//! # Ok::<(), mert_clap::ClapError>(())
//! ```
//!
//! # Map
//! - `config.rs`, `preprocessor.rs`: the fields of `config.json` and `preprocessor_config.json`, checked.
//! - `features/`: from samples to the log-mel spectrogram.
//! - `tower/`: from the spectrogram to the pooled vector, and the projection.
//! - `weights.rs`: the tensors of a checkpoint, each accounted for.
//! - `model.rs`: all of it behind one type.
//! - `modes/`: the file of texts' vectors, and the classifier.
//! - `selector.rs`: the choice of a mode in live use, behind the interface of `mert-live`.

mod config;
mod error;
mod features;
mod model;
mod modes;
mod preprocessor;
mod selector;
mod tower;
mod weights;

pub use config::AudioConfig;
pub use error::ClapError;
pub use features::LogMel;
pub use model::{ClapAudio, Embedding};
pub use modes::{Classifier, Decision, Modes, Reason, Settings};
pub use preprocessor::Preprocessor;
pub use selector::{ClapSelector, Listening};

pub(crate) type Result<T, E = ClapError> = std::result::Result<T, E>;
