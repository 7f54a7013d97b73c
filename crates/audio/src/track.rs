//! A file's mono samples at a model's rate: decoding, mixing, resampling and windows combined.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::decode::{AudioFile, AudioInfo, Damage, ReadOptions};
use crate::resample::Resampler;
use crate::shared::SharedSource;
use crate::source::{Source, check_rate};
use crate::window::{Tail, WindowPolicy, Windows};

/// An audio file that is to be resampled to a model's rate.
#[derive(Debug)]
pub struct Track {
    path: PathBuf,
    rate: u32,
    options: ReadOptions,
    file: AudioFile,
}

impl Track {
    /// Opens the file at `path`, to be resampled to `rate` hertz.
    ///
    /// # Errors
    /// Those of [`AudioFile::open`].
    pub fn open(path: &Path, rate: u32, options: impl Into<ReadOptions>) -> Result<Self> {
        check_rate(rate)?;
        let options = options.into();
        Ok(Track { path: path.to_path_buf(), rate, options, file: AudioFile::open(path, options)? })
    }

    /// The format and length that the file states.
    pub fn info(&self) -> &AudioInfo {
        self.file.info()
    }

    /// The windows of the file that `policy` selects, at the model's rate. None is shorter than `min_samples`, the
    /// smallest input of the model.
    ///
    /// # Errors
    /// [`crate::AudioError`] if the middle cannot be found because the file cannot be read.
    pub fn windows(mut self, policy: &WindowPolicy, tail: Tail, min_samples: usize) -> Result<Windows<AudioFile>> {
        let total = self.total(policy)?;
        let resampler = Resampler::new(self.file.sample_rate(), self.rate)?;
        let total = total.map(|frames| resampler.output_len(frames));
        Windows::new(self.file, self.rate, policy, tail, min_samples, total)
    }

    /// The windows of the file for several models, each with its own rate in hertz and smallest input, decoded once. They
    /// are those that [`Track::windows`] gives for each model alone.
    ///
    /// # Errors
    /// Those of [`Track::windows`].
    pub fn windows_for(
        mut self,
        models: &[(u32, usize)],
        policy: &WindowPolicy,
        tail: Tail,
    ) -> Result<Vec<Windows<SharedSource<AudioFile>>>> {
        let total = self.total(policy)?;
        let from = self.file.sample_rate();
        let sources = SharedSource::split(self.file, models.len());
        let windows = models.iter().zip(sources).map(|(&(rate, min_samples), source)| {
            let resampler = Resampler::new(from, rate)?;
            let total = total.map(|frames| resampler.output_len(frames));
            Windows::new(source, rate, policy, tail, min_samples, total)
        });
        let windows: Vec<_> = windows.collect::<Result<_>>()?;
        if let (Some(lead_in), Some(first)) = (windows.iter().map(Windows::lead_in).min(), windows.first()) {
            first.source().skip_for_all(lead_in)?;
        }
        Ok(windows)
    }

    /// The length of the file at its own rate, if `policy` depends on it.
    fn total(&mut self, policy: &WindowPolicy) -> Result<Option<u64>> {
        if !matches!(policy, WindowPolicy::Middle(_)) {
            return Ok(None);
        }
        let mut frames = self.info().frames;
        // A damaged file may be shorter than it states.
        if (frames.is_none() || self.options.damage == Damage::Keep) && self.path.is_file() {
            let (found, notes) = AudioFile::open(&self.path, self.options)?.scan_to_end()?;
            self.file.replace_notes(notes);
            frames = Some(found);
        }
        Ok(frames)
    }
}
