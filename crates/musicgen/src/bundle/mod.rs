//! Bundles: folders with a language model and its configuration, a text encoder and a codec.
//!
//! - this file: the folder; `config.rs`: `config.json`.
//! - `agreement.rs`: what `config.json` and those of the parts must have in common.
//! - `files.rs`: the files of weights; `weights.rs`: the tensors, each accounted for.

mod agreement;
mod config;
mod files;
mod weights;

use std::path::{Path, PathBuf};

use candle_core::Device;
use mert_encodec::Encodec;
use mert_t5::T5Encoder;

pub use self::config::{BundleConfig, GenerationConfig, InstructConfig};
pub(crate) use self::weights::Weights;
use crate::{MusicgenError, Result};

/// The folder of T5 in a bundle.
const T5: &str = "t5";

/// The folder of EnCodec in a bundle.
const ENCODEC: &str = "encodec";

/// A bundle: a folder that mert-convert wrote.
#[derive(Debug, Clone)]
pub struct Bundle {
    folder: PathBuf,
    config: BundleConfig,
}

impl Bundle {
    /// Opens a bundle, reads its `config.json` and compares it with those of T5 and the codec.
    ///
    /// # Errors
    /// [`MusicgenError::Open`] and [`MusicgenError::File`] for a folder that is no bundle, or whose files contradict each other.
    pub fn open(folder: &Path) -> Result<Self> {
        let config = BundleConfig::read(folder)?;
        agreement::check(folder, &config)?;
        Ok(Bundle { folder: folder.to_path_buf(), config })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration.
    pub fn config(&self) -> &BundleConfig {
        &self.config
    }

    /// Opens the text encoder. Its weights are freed when it is dropped.
    ///
    /// # Errors
    /// [`MusicgenError::MissingPart`] if the bundle has none, and those of [`T5Encoder::open`].
    pub fn text_encoder(&self) -> Result<T5Encoder> {
        Ok(T5Encoder::open(&self.part(T5, "the text encoder", "--t5 FOLDER")?, &Device::Cpu)?)
    }

    /// Opens the codec.
    ///
    /// # Errors
    /// [`MusicgenError::MissingPart`] if the bundle has none, and those of [`Encodec::open`].
    pub fn codec(&self) -> Result<Encodec> {
        Ok(Encodec::open(&self.part(ENCODEC, "the audio codec", "--codec FILE")?, &Device::Cpu)?)
    }

    /// The tensors of the language model.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Weights::open(&self.folder, &self.config)
    }

    fn part(&self, part: &'static str, contents: &'static str, option: &'static str) -> Result<PathBuf> {
        let path = self.folder.join(part);
        if path.is_dir() {
            return Ok(path);
        }
        Err(MusicgenError::MissingPart { folder: self.folder.clone(), part, contents, option })
    }
}
