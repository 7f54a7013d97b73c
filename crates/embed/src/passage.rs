//! The samples of a file between two times.

use std::path::Path;

use mert_audio::{AudioError, AudioFile, ReadOptions, Source};

use crate::EmbedError;

/// The samples of a file between two times.
pub(crate) struct Passage {
    file: AudioFile,
    /// Samples before the passage that are still to be skipped.
    skip: u64,
    /// Samples of the passage that are still to come.
    take: u64,
    block: Vec<f32>,
}

impl Passage {
    /// Opens the file at `path` and finds the passage from `start` to `end`, in seconds.
    ///
    /// # Errors
    /// [`EmbedError::Passage`] if `start` is not before `end`, or the file ends before it; [`EmbedError::Audio`] if the file cannot
    /// be decoded.
    pub(crate) fn open(path: &Path, options: ReadOptions, start: f64, end: f64) -> Result<Self, EmbedError> {
        let refuse = |reason: String| Err(EmbedError::Passage { reason });
        if !((0.0..end).contains(&start) && end.is_finite()) {
            return refuse(format!("invalid passage {start} s to {end} s: expected a start before its end"));
        }
        let mut file = AudioFile::open(path, options)?;
        let rate = f64::from(file.sample_rate());
        let samples = |seconds: f64| (seconds * rate).round() as u64;
        let mut skip = samples(start);
        if let Some(frames) = file.info().frames.filter(|&frames| frames <= skip) {
            return refuse(format!(
                "the passage starts at {start} s, and the file ends at {:.2} s",
                frames as f64 / rate
            ));
        }
        let take = samples(end).saturating_sub(skip).max(1);
        skip -= file.skip(skip)?.min(skip);
        Ok(Passage { file, skip, take, block: Vec::new() })
    }
}

impl Source for Passage {
    fn sample_rate(&self) -> u32 {
        self.file.sample_rate()
    }

    fn next_block(&mut self) -> Result<Option<&[f32]>, AudioError> {
        while self.take > 0 {
            let Some(block) = self.file.next_block()? else { return Ok(None) };
            let skip = self.skip.min(block.len() as u64);
            self.skip -= skip;
            let rest = &block[skip as usize..];
            if rest.is_empty() {
                continue;
            }
            let take = self.take.min(rest.len() as u64);
            self.take -= take;
            self.block.clear();
            self.block.extend_from_slice(&rest[..take as usize]);
            return Ok(Some(&self.block));
        }
        Ok(None)
    }
}
