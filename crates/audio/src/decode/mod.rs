mod au;
mod ffmpeg;
mod matroska;
mod opus;
mod packets;
mod pass_over;
mod quicktime;
mod reader;
mod section;
mod vorbis;

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::codecs::audio::AudioDecoder;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::packet::Packet;

pub use ffmpeg::ffmpeg_version;

use crate::media::Media;
use crate::ogg_pages::{self, Pages};
use crate::raw::check_finite;
use crate::resample::check_rate;
use crate::track::Source;
use crate::{AudioError, Result, mp4_edits};

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

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// What to do with a file that is damaged or ends too early.
    pub damage: Damage,
    /// Whether what is not read otherwise is decoded by an installed `ffmpeg`.
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
    /// Samples to leave out before the first and the number to keep, from an MP4 edit list.
    skip: u64,
    keep: Option<u64>,
    /// The file is known to end too early.
    cut_off: bool,
    /// How many packets of the track were read, the one behind whose samples some are to be left out, and how many.
    packets: u64,
    discard: Option<(u64, u64)>,
    /// What ffmpeg printed, where it decodes.
    ffmpeg: Option<ffmpeg::Notes>,
    /// The time of the first sample, in samples.
    origin: u64,
    /// A packet that was read and is to be decoded.
    pending: Option<Packet>,
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

/// Formats whose stated length is an estimate from the bit rate, unless a tag says more.
const ESTIMATED: [&str; 4] = ["aac", "mp1", "mp2", "mp3"];

impl AudioFile {
    /// Opens `path` and reads as much of it as tells what is in it.
    ///
    /// # Errors
    /// [`AudioError::Open`], [`AudioError::EmptyFile`], [`AudioError::UnknownFormat`], [`AudioError::NotAudio`],
    /// [`AudioError::NotRead`] or [`AudioError::Rate`]; [`AudioError::Damaged`] for an Ogg file, which is
    /// checked here; [`AudioError::Pipe`] for M4A, OGG, Matroska and CAF that are no files.
    pub fn open(path: &Path, options: impl Into<ReadOptions>) -> Result<Self> {
        let options = options.into();
        match Self::open_natively(path, options.damage) {
            Err(AudioError::UnknownCodec { .. } | AudioError::UnknownFormat { .. })
                if options.ffmpeg && path.is_file() =>
            {
                Self::open_by_ffmpeg(path, options.damage)
            }
            Err(AudioError::UnknownCodec { reason }) => {
                Err(AudioError::NotRead { what: reason, command: reader::command(path), ffmpeg: !options.ffmpeg })
            }
            opened => opened,
        }
    }

    fn open_by_ffmpeg(path: &Path, damage: Damage) -> Result<Self> {
        let (output, notes) = ffmpeg::start(path, damage)?;
        let mut opened = guard(|| Self::probe(Box::new(output), damage))??;
        opened.info.container = "ffmpeg";
        // What it writes into a pipe does not state its length.
        opened.info.frames = None;
        opened.notes.push(format!("decoded by ffmpeg {}", ffmpeg_version()?));
        opened.ffmpeg = Some(notes);
        Ok(opened)
    }

    fn open_natively(path: &Path, damage: Damage) -> Result<Self> {
        let failed = |source| AudioError::Open { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(AudioError::EmptyFile);
        }
        let again = || File::open(path).map_err(failed);
        let media = Media::new(file).map_err(failed)?;
        let mut opened = match guard(|| Self::probe(Box::new(media), damage))? {
            Err(error @ (AudioError::UnknownCodec { .. } | AudioError::UnknownFormat { .. })) if metadata.is_file() => {
                let codec = quicktime::codec(&mut again()?).map_err(failed)?;
                return Err(codec.map_or(error, |codec| AudioError::UnknownCodec { reason: codec.to_string() }));
            }
            opened => opened?,
        };
        match opened.info.container {
            // Where it can seek, the reader estimates the length of a file without a tag from the size of its first
            // frames, and leaves out what lies behind.
            "mp1" | "mp2" | "mp3" if opened.info.frames.is_none() && metadata.is_file() => {
                let media = Media::new(again()?).map_err(failed)?.sequential();
                let cut_off = opened.cut_off;
                opened = guard(|| Self::probe(Box::new(media), damage))??;
                opened.cut_off |= cut_off;
            }
            container @ ("isomp4" | "ogg" | "matroska" | "caf") if !metadata.is_file() => {
                return Err(AudioError::Pipe { container });
            }
            "isomp4" => {
                opened.apply_edit(mp4_edits::read(&mut again()?, opened.track_id).map_err(failed)?);
                let descriptions = quicktime::read(&mut again()?).map_err(failed)?;
                if descriptions.iter().any(|it| it.track == opened.track_id && it.is_big_endian()) {
                    opened.decoder = reader::big_endian(opened.decoder.codec_params())?;
                    opened.info.codec = opened.decoder.codec_info().short_name;
                }
            }
            "matroska" => {
                let layout = matroska::read(again()?, metadata.len(), opened.track_id).map_err(failed)?;
                opened.apply_layout(layout);
            }
            "ogg" => opened.apply_pages(ogg_pages::check(&mut BufReader::new(again()?)).map_err(failed)?)?,
            _ => {}
        }
        Ok(opened)
    }

    fn probe(media: Box<dyn MediaSource>, damage: Damage) -> Result<Self> {
        let stream = MediaSourceStream::new(media, Default::default());
        let reader::Opened { name, format, cut_off } = reader::open(stream)?;
        let no_sound = |reason: &str| AudioError::UnknownCodec { reason: format!("{name} with {reason}") };
        let track = format.default_track(TrackType::Audio).ok_or_else(|| no_sound("no audio track"))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| no_sound("a codec that is not known"))?;
        let (decoder, pre_skip) = reader::decoder(parameters)?;
        let parameters = decoder.codec_params();
        let sample_rate = parameters.sample_rate.ok_or(AudioError::Rate { rate: 0 })?;
        check_rate(sample_rate)?;
        let container = format.format_info().short_name;
        let codec = decoder.codec_info().short_name;
        let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
        // A LAME tag, of which the delay is a part, states the length; without one it is estimated.
        let is_estimate = ESTIMATED.contains(&container) && track.delay.is_none();
        // A length of zero is that of an MP4 file in fragments, each of which states its own.
        let frames = track.num_frames.filter(|&frames| !is_estimate && frames > 0);
        let (skip, keep, frames) = match (container, codec) {
            // Their table counts the last packet as if it were full.
            ("caf", "alac") => (track.delay.map_or(0, u64::from), frames, None),
            ("caf", _) => (track.delay.map_or(0, u64::from), frames, frames),
            // The positions in Ogg count what is to be left out, from wherever they begin.
            ("ogg", "opus") => {
                let first = u64::try_from(track.start_ts.get()).unwrap_or(0) + pre_skip;
                (pre_skip, None, frames.map(|frames| frames.saturating_sub(first)))
            }
            _ => (pre_skip, None, frames),
        };
        let info = AudioInfo { container, codec, sample_rate, channels, frames };
        Ok(AudioFile {
            track_id: track.id,
            info,
            format,
            decoder,
            damage,
            skip,
            keep,
            cut_off,
            packets: 0,
            discard: None,
            ffmpeg: None,
            origin: 0,
            pending: None,
            passed_over: false,
            interleaved: Vec::new(),
            mono: Vec::new(),
            position: 0,
            ended: false,
            notes: Vec::new(),
        })
    }

    fn apply_edit(&mut self, edit: Option<mp4_edits::Edit>) {
        let rate = f64::from(self.info.sample_rate);
        let samples = |seconds: f64| (seconds * rate).round() as u64;
        self.skip = edit.map_or(self.skip, |edit| samples(edit.start));
        // The last packet may be shorter than what it decodes to: the media's duration says by how much.
        let media = self.info.frames.map(|frames| frames.saturating_sub(self.skip));
        let edited = edit.and_then(|edit| edit.duration).map(samples);
        self.keep = [media, edited].into_iter().flatten().min();
        self.info.frames = media.and(self.keep);
    }

    fn apply_layout(&mut self, layout: matroska::Layout) {
        let rate = f64::from(self.info.sample_rate);
        let samples = |nanoseconds: u64| (nanoseconds as f64 * 1e-9 * rate).round() as u64;
        // Opus says the same in its own header.
        if self.info.codec != "opus" {
            self.skip = samples(layout.delay);
        }
        self.discard = layout.discard.map(|(packet, nanoseconds)| (packet, samples(nanoseconds)));
        self.cut_off |= layout.cut_off;
    }

    fn apply_pages(&mut self, pages: Pages) -> Result<()> {
        match pages {
            Pages::Whole => return Ok(()),
            // What follows is refused when it is reached.
            Pages::Chained => {}
            Pages::CutOff => self.cut_off = true,
            Pages::Damaged { time } => {
                let seconds = time as f64 / f64::from(self.info.sample_rate);
                self.damaged(seconds, "a page is missing or has changed")?;
            }
        }
        // It was taken from the first and the last page that are left.
        self.info.frames = None;
        Ok(())
    }

    /// What the file says of itself.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// What was passed over so far, with [`Damage::Keep`].
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
