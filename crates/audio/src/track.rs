//! A file's mono samples at a model's rate: decoding, mixing and resampling combined.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::decode::{AudioFile, AudioInfo, Damage, ReadOptions};
use crate::resample::{Resampler, check_rate};
use crate::window::{Tail, WindowPolicy, Windows};

/// Mono samples that arrive in blocks.
pub trait Source {
    /// Samples per second.
    fn sample_rate(&self) -> u32;

    /// The next samples, `None` after the last. A block is never empty.
    ///
    /// # Errors
    /// [`crate::AudioError`] for a source that cannot be read.
    fn next_block(&mut self) -> Result<Option<&[f32]>>;

    /// Leaves out at most `samples` samples, without decoding what need not be, and says how many. The samples after
    /// them are the same as if those had been taken.
    ///
    /// # Errors
    /// Those of [`Source::next_block`], of what is seen without decoding.
    fn pass_over(&mut self, samples: u64) -> Result<u64> {
        let _ = samples;
        Ok(0)
    }
}

/// A file whose samples are wanted at a model's rate.
#[derive(Debug)]
pub struct Track {
    path: PathBuf,
    rate: u32,
    options: ReadOptions,
    file: AudioFile,
}

impl Track {
    /// Opens `path`, to be resampled to `rate`.
    ///
    /// # Errors
    /// Those of [`AudioFile::open`].
    pub fn open(path: &Path, rate: u32, options: impl Into<ReadOptions>) -> Result<Self> {
        check_rate(rate)?;
        let options = options.into();
        Ok(Track { path: path.to_path_buf(), rate, options, file: AudioFile::open(path, options)? })
    }

    /// What the file says of itself.
    pub fn info(&self) -> &AudioInfo {
        self.file.info()
    }

    /// The windows that `policy` takes of it, at the model's rate. None is shorter than `min_samples`, the
    /// least that the model takes.
    ///
    /// # Errors
    /// [`crate::AudioError`] if the middle cannot be found because the file cannot be read.
    pub fn windows(mut self, policy: &WindowPolicy, tail: Tail, min_samples: usize) -> Result<Windows<AudioFile>> {
        let resampler = Resampler::new(self.file.sample_rate(), self.rate)?;
        // The middle of a file can only be taken once its length is known.
        let total = match policy {
            WindowPolicy::Middle(_) => {
                let mut frames = self.info().frames;
                // A damaged file may be shorter than it says.
                if (frames.is_none() || self.options.damage == Damage::Keep) && self.path.is_file() {
                    let (found, notes) = AudioFile::open(&self.path, self.options)?.survey()?;
                    self.file.note(notes);
                    frames = Some(found);
                }
                frames.map(|frames| resampler.output_len(frames))
            }
            WindowPolicy::Whole | WindowPolicy::Sliding { .. } => None,
        };
        Windows::new(self.file, self.rate, policy, tail, min_samples, total)
    }
}
