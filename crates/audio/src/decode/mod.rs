//! Decoding audio files packet by packet.

mod au;
mod ffmpeg;
mod incomplete;
mod matroska;
mod open;
mod opus;
mod packets;
mod pass_over;
mod quicktime;
mod quirks;
mod reader;
mod reasons;
mod section;
mod vorbis;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::formats::FormatReader;
use symphonia::core::packet::Packet;

pub use ffmpeg::ffmpeg_version;

use crate::raw::check_finite;
use crate::track::Source;
use crate::{AudioError, Result};

/// What to do with a file that is damaged or ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Damage {
    /// It is an error.
    #[default]
    Refuse,
    /// What can be decoded is taken, with silence of the right length in the place of what cannot, where the
    /// format tells the length (Ogg does not: a lost page is left out); a note says so.
    Keep,
}

/// Options for reading a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Handling of files that are damaged or truncated.
    pub damage: Damage,
    /// Whether an installed `ffmpeg` decodes files that cannot be read otherwise.
    pub ffmpeg: bool,
}

impl From<Damage> for ReadOptions {
    fn from(damage: Damage) -> Self {
        ReadOptions { damage, ffmpeg: false }
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioInfo {
    /// The container's name, such as `wave` or `isomp4`.
    pub container: &'static str,
    /// The codec's name, such as `flac`.
    pub codec: &'static str,
    /// Samples per second, in hertz.
    pub sample_rate: u32,
    /// How many channels are mixed to one.
    pub channels: usize,
    /// How many samples of each channel, where the file states it reliably.
    pub frames: Option<u64>,
}

/// A file that is decoded as it is read, and mixed to mono: each sample is the mean of all channels.
pub struct AudioFile {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    info: AudioInfo,
    damage: Damage,
    /// Samples to trim from the start and samples to keep, from an MP4 edit list or Ogg granule positions.
    skip: u64,
    keep: Option<u64>,
    /// The trims of Ogg Vorbis come from its pages; those that the reader sets on packets are ignored.
    own_trims: bool,
    /// The file is known to end too early.
    cut_off: bool,
    /// The packet to trim at its end, and the trim in samples.
    discard: Option<(u64, u64)>,
    /// Errors printed by ffmpeg, if it decodes the file.
    ffmpeg: Option<ffmpeg::Notes>,
    /// The time of the first sample, in samples.
    origin: u64,
    /// Packets read ahead of decoding.
    pending: VecDeque<symphonia::core::errors::Result<Option<Packet>>>,
    /// Number of packets read so far, and the indices of packets that follow a gap.
    packets: u64,
    resets: VecDeque<u64>,
    /// Whether any channel, and whether the mean of the channels, has held a nonzero sample.
    channels_sound: bool,
    mean_sounds: bool,
    /// Not all packets were decoded.
    passed_over: bool,
    /// Decoded samples of the channels in turn, and their mean.
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    /// Samples given out.
    position: u64,
    ended: bool,
    notes: Vec<String>,
}

impl fmt::Debug for AudioFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioFile").field("info", &self.info).field("position", &self.position).finish_non_exhaustive()
    }
}

impl AudioFile {
    /// What the file says of itself.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Whether the channels cancel each other: their mean has been silent so far, and at least one channel has not.
    pub fn channels_cancel(&self) -> bool {
        self.channels_sound && !self.mean_sounds
    }

    /// Guesses and omissions so far and, with [`Damage::Keep`], damage.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Counts the samples of the rest, which is decoded only if that needs it.
    ///
    /// # Errors
    /// Those of [`Source::next_block`].
    pub fn count(self) -> Result<u64> {
        Ok(self.survey()?.0)
    }

    /// As [`AudioFile::count`], with what was passed over, which [`AudioFile::note`] takes.
    pub(crate) fn survey(mut self) -> Result<(u64, Vec<String>)> {
        // The last packet of other formats may have fewer samples than it says.
        if self.info.codec == "mp3" {
            self.pass_over(u64::MAX)?;
        }
        while self.next_block()?.is_some() {}
        Ok((self.position, self.notes))
    }

    /// Notes that are known already.
    pub(crate) fn note(&mut self, notes: Vec<String>) {
        // The file was opened twice and gave the same notes both times.
        self.notes = notes;
    }

    fn seconds(&self) -> f64 {
        self.position as f64 / f64::from(self.info.sample_rate)
    }

    /// Notes damage, or refuses it.
    fn damaged(&mut self, seconds: f64, reason: &str) -> Result<()> {
        match self.damage {
            Damage::Refuse => Err(AudioError::Damaged { seconds, reason: reason.to_string() }),
            Damage::Keep => {
                // Enough to see what is wrong: a file may be damaged in thousands of places.
                const MOST: usize = 8;
                let note = format!("damaged at {seconds:.2} s: {reason}");
                if self.notes.len() < MOST && !self.notes.contains(&note) {
                    self.notes.push(note);
                }
                Ok(())
            }
        }
    }
}

impl Source for AudioFile {
    fn sample_rate(&self) -> u32 {
        self.info.sample_rate
    }

    fn pass_over(&mut self, samples: u64) -> Result<u64> {
        let before = self.position;
        let Some(lead) = self.decoder_lead().filter(|_| self.counts_samples()) else { return Ok(0) };
        guard(|| self.pass_over_packets(before.saturating_add(samples), lead))??;
        Ok(self.position - before)
    }

    /// # Errors
    /// [`AudioError::Damaged`] and [`AudioError::Truncated`] with [`Damage::Refuse`]; [`AudioError::Changes`],
    /// [`AudioError::NotFinite`], [`AudioError::Read`] and [`AudioError::DecoderPanicked`].
    fn next_block(&mut self) -> Result<Option<&[f32]>> {
        if !guard(|| self.advance())?? {
            return Ok(None);
        }
        check_finite(&self.mono, self.position, self.info.sample_rate)?;
        self.position += self.mono.len() as u64;
        Ok(Some(&self.mono))
    }
}

/// Turns a panic of a decoder, which reads bytes that anybody may have made, into an error.
fn guard<T>(decode: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).map_err(|panic| {
        let reason = panic.downcast_ref::<&str>().map(ToString::to_string);
        let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        AudioError::DecoderPanicked { reason }
    })
}
