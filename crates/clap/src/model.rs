//! The model: from samples to a vector of length 1.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use mert_checkpoint::Source;

use crate::config::AudioConfig;
use crate::features::LogMel;
use crate::preprocessor::Preprocessor;
use crate::tower::AudioTower;
use crate::weights::Weights;
use crate::{ClapError, Result};

/// CLAP's audio side: the spectrogram, the tower and the projection.
pub struct ClapAudio {
    config: AudioConfig,
    log_mel: LogMel,
    tower: AudioTower,
    sha256: String,
    notes: Vec<String>,
}

/// The spectrogram and the vectors of a sound, step by step through the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The log-mel spectrogram in decibels, frame by frame.
    pub mel: Vec<f32>,
    /// The pooled vector, `pooler_output` of transformers' `ClapAudioModel`.
    pub pooled: Vec<f32>,
    /// The projected vector, `audio_embeds` of transformers' `ClapAudioModelWithProjection`.
    pub projected: Vec<f32>,
    /// The projected vector at length 1, what `ClapModel.get_audio_features` returns.
    pub vector: Vec<f32>,
}

impl ClapAudio {
    /// Opens a model as transformers saved it: a folder with `config.json`, perhaps `preprocessor_config.json`, and
    /// `model.safetensors` or `pytorch_model.bin`, or the file of weights itself beside them. The text tower is not read.
    ///
    /// # Errors
    /// [`ClapError`] if there is no such model, or one that is not computed here.
    pub fn open(path: &Path) -> Result<Self> {
        let source = Source::open(path)?;
        let config_file = source.config_file.as_ref().ok_or_else(|| ClapError::NoConfig { path: path.into() })?;
        let config = AudioConfig::read(config_file)?;
        let mut notes = source.notes.clone();
        let preprocessor = Preprocessor::read(&source.preprocessor_files)?.unwrap_or_else(|| {
            notes.push("no preprocessor_config.json; using the values of laion/clap-htsat-unfused".into());
            Preprocessor::default()
        });
        check_fit(&config, &preprocessor)?;
        let weights = Weights::new(&source);
        let tower = AudioTower::new(&config, &weights)?;
        weights.check_all_read()?;
        // It is only `None` when cancelled.
        let sha256 = source.sha256(&AtomicBool::new(false)).unwrap_or_default();
        Ok(ClapAudio { config, log_mel: LogMel::new(preprocessor), tower, sha256, notes })
    }

    /// The configuration.
    pub fn config(&self) -> &AudioConfig {
        &self.config
    }

    /// The settings of the spectrogram, with the sample rate and the longest sound.
    pub fn preprocessor(&self) -> &Preprocessor {
        self.log_mel.preprocessor()
    }

    /// The SHA-256 of the file of weights.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Notes about what was chosen or assumed on opening, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The vector of a sound, of length 1: mono samples at the model's rate, at most [`Preprocessor::max_samples`]. A
    /// shorter sound is repeated as often as it fits and followed by silence, as in transformers.
    ///
    /// # Errors
    /// Those of [`LogMel::compute`], [`ClapError::NoDirection`] if the weights yield no direction, and
    /// [`ClapError::Compute`].
    pub fn embed(&self, samples: &[f32]) -> Result<Vec<f32>> {
        Ok(self.trace(samples)?.vector)
    }

    /// The vector of a sound as [`ClapAudio::embed`] returns it, with what it was computed from.
    ///
    /// # Errors
    /// Those of [`ClapAudio::embed`].
    pub fn trace(&self, samples: &[f32]) -> Result<Embedding> {
        let mel = self.log_mel.compute(samples)?;
        let tensor = self.tower.pooled(&mel)?;
        let pooled: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        let projected: Vec<f32> = self.tower.project(&tensor)?.flatten_all()?.to_vec1()?;
        let finite = pooled.iter().all(|value| value.is_finite());
        let vector = unit(&projected).filter(|_| finite).ok_or(ClapError::NoDirection)?;
        Ok(Embedding { mel, pooled, projected, vector })
    }
}

/// A vector at length 1; `None` if it has none that is finite and above 0.
pub(crate) fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let length = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    (length.is_finite() && length > 0.0)
        .then(|| vector.iter().map(|&value| (f64::from(value) / length) as f32).collect())
}

/// Checks that the tower takes the spectrogram.
fn check_fit(config: &AudioConfig, preprocessor: &Preprocessor) -> Result<()> {
    let error = |field, found: usize, expected: String| {
        Err(ClapError::Field { file: "preprocessor_config.json", field, found: found.to_string(), expected })
    };
    if preprocessor.feature_size != config.num_mel_bins {
        let expected = format!("{}, num_mel_bins of config.json", config.num_mel_bins);
        return error("feature_size", preprocessor.feature_size, expected);
    }
    if preprocessor.frames() > config.frames() {
        let expected = format!("a window of at most {} frames, which the model's image holds", config.frames());
        return error("max_length_s", preprocessor.max_length_s, expected);
    }
    Ok(())
}
