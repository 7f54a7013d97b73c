//! A file as a source of mono samples.

use super::file::AudioFile;
use super::guard::guard;
use crate::Result;
use crate::source::{Source, check_finite};

impl AudioFile {
    /// The number of remaining samples, which are decoded only as far as counting requires.
    ///
    /// # Errors
    /// Those of [`Source::next_block`].
    pub fn count(self) -> Result<u64> {
        Ok(self.scan_to_end()?.0)
    }

    /// The number of remaining samples, as [`AudioFile::count`], and the notes.
    pub(crate) fn scan_to_end(mut self) -> Result<(u64, Vec<String>)> {
        // In other formats the last packet may have fewer samples than it states.
        if self.info.codec == "mp3" {
            self.skip(u64::MAX)?;
        }
        while self.next_block()?.is_some() {}
        Ok((self.position, self.notes))
    }
}

impl Source for AudioFile {
    fn sample_rate(&self) -> u32 {
        self.info.sample_rate
    }

    fn skip(&mut self, samples: u64) -> Result<u64> {
        let before = self.position;
        let Some(lead) = self.decoder_lead().filter(|_| self.counts_samples()) else { return Ok(0) };
        guard(|| self.skip_packets(before.saturating_add(samples), lead))??;
        Ok(self.position - before)
    }

    /// # Errors
    /// [`AudioError::Damaged`](crate::AudioError::Damaged) and [`AudioError::Truncated`](crate::AudioError::Truncated)
    /// with [`Damage::Refuse`](crate::Damage::Refuse), and other errors of [`AudioError`](crate::AudioError) about the
    /// content of the file.
    fn next_block(&mut self) -> Result<Option<&[f32]>> {
        if !guard(|| self.advance())?? {
            return Ok(None);
        }
        check_finite(&self.mono, self.position, self.info.sample_rate)?;
        self.position += self.mono.len() as u64;
        Ok(Some(&self.mono))
    }
}
