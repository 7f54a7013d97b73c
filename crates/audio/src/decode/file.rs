//! The state of a file that is being decoded. Its steps are in files of their own: opening, packets, skipping, and the
//! stream of samples.

use std::collections::VecDeque;
use std::fmt;

use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::formats::FormatReader;
use symphonia::core::packet::Packet;

use super::ffmpeg;
use super::options::{AudioInfo, Damage};
use crate::{AudioError, Result};

/// An audio file that is decoded while it is read, and mixed to mono: each sample is the mean of all channels, or that of the
/// channel that [`AudioFile::select_channel`] chose.
pub struct AudioFile {
    pub(super) format: Box<dyn FormatReader>,
    pub(super) decoder: Box<dyn AudioDecoder>,
    pub(super) track_id: u32,
    pub(super) info: AudioInfo,
    pub(super) damage: Damage,
    /// The number of samples still to be trimmed from the start.
    pub(super) skip: u64,
    /// The number of samples to keep after the trim, from an MP4 edit list or Ogg granule positions.
    pub(super) keep: Option<u64>,
    /// Whether the trims come from the pages of an Ogg Vorbis file, so that those that the reader sets on packets are
    /// ignored.
    pub(super) own_trims: bool,
    /// Whether the file is known to be truncated.
    pub(super) is_truncated: bool,
    /// The index of the packet to trim at its end, and the trim in samples.
    pub(super) discard: Option<(u64, u64)>,
    /// The errors that ffmpeg printed, if it decodes the file.
    pub(super) ffmpeg: Option<ffmpeg::Notes>,
    /// The time of the first sample, in samples.
    pub(super) origin: u64,
    /// Packets that were read ahead of decoding.
    pub(super) pending: VecDeque<symphonia::core::errors::Result<Option<Packet>>>,
    /// The number of packets read so far.
    pub(super) packets: u64,
    /// The indices of packets that follow a gap, before which the decoder is reset.
    pub(super) resets: VecDeque<u64>,
    /// Whether any channel has held a nonzero sample so far.
    pub(super) channels_nonzero: bool,
    /// Whether the mean of the channels has held a nonzero sample so far.
    pub(super) mean_nonzero: bool,
    /// Whether packets were skipped without decoding.
    pub(super) has_skipped: bool,
    /// The decoded samples of a packet, interleaved.
    pub(super) interleaved: Vec<f32>,
    /// The channel to return in place of the mean.
    pub(super) selected: Option<usize>,
    /// The mean of the channels in `interleaved`, or the selected one.
    pub(super) mono: Vec<f32>,
    /// The number of samples returned so far.
    pub(super) position: u64,
    pub(super) ended: bool,
    pub(super) notes: Vec<String>,
}

impl fmt::Debug for AudioFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioFile").field("info", &self.info).field("position", &self.position).finish_non_exhaustive()
    }
}

impl AudioFile {
    /// The format and length that the file states.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Whether the channels cancel each other: their mean has been silent so far, and at least one channel has not.
    pub fn channels_cancel(&self) -> bool {
        self.channels_nonzero && !self.mean_nonzero
    }

    /// Returns the samples of one channel, counted from 0, in place of the mean of all; a channel that the file does not have
    /// leaves the mean. Has an effect on the packets that are decoded after it.
    pub fn select_channel(&mut self, channel: usize) {
        self.selected = Some(channel);
    }

    /// The notes so far: guesses, parts that were left out and, with [`Damage::Keep`], damage.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Replaces the notes by those of another pass over the same file, which include the notes of opening it.
    pub(crate) fn replace_notes(&mut self, notes: Vec<String>) {
        self.notes = notes;
    }

    /// The time of the next sample in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.position as f64 / f64::from(self.info.sample_rate)
    }

    /// Adds a note about damage, or returns it as an error with [`Damage::Refuse`].
    pub(super) fn damaged(&mut self, seconds: f64, reason: &str) -> Result<()> {
        match self.damage {
            Damage::Refuse => Err(AudioError::Damaged { seconds, reason: reason.to_string() }),
            Damage::Keep => {
                // Enough to show the problem: a file may be damaged in thousands of places.
                const MAX_NOTES: usize = 8;
                let note = format!("damaged at {seconds:.2} s: {reason}");
                if self.notes.len() < MAX_NOTES && !self.notes.contains(&note) {
                    self.notes.push(note);
                }
                Ok(())
            }
        }
    }
}
