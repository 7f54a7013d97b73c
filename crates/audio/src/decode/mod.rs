//! A file that is decoded as it is read.

mod packets;
mod pass_over;
mod quirks;
mod reasons;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use crate::raw::check_finite;
use crate::resample::check_rate;
use crate::track::Source;
use crate::{AudioError, Result};
use quirks::ogg_pages::{self, Ogg, Pages};
use quirks::{Layout, Media, he_aac, mp4_edits};

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
    /// Samples to leave out before the first and the number to keep, from an MP4 edit list or the pages of Ogg.
    skip: u64,
    keep: Option<u64>,
    /// What is to be left out of Ogg Vorbis is known, and does not go by what the reader says of packets.
    own_trims: bool,
    /// The file is known to end too early.
    cut_off: bool,
    /// The time of the first sample, in samples.
    origin: u64,
    /// What was read and is to be decoded.
    pending: VecDeque<symphonia::core::errors::Result<Option<Packet>>>,
    /// Packets read so far, and the numbers of those in front of which something is missing.
    packets: u64,
    resets: VecDeque<u64>,
    /// The channels were not silent, and whether their mean ever was not.
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

/// Formats whose stated length is an estimate from the bit rate, unless a tag says more.
const ESTIMATED: [&str; 4] = ["aac", "mp1", "mp2", "mp3"];

impl AudioFile {
    /// Opens `path` and reads as much of it as tells what is in it.
    ///
    /// # Errors
    /// [`AudioError::Open`], [`AudioError::EmptyFile`], [`AudioError::UnknownFormat`],
    /// [`AudioError::UnknownCodec`] or [`AudioError::Rate`]; [`AudioError::Damaged`] for an Ogg file, which is
    /// checked here; [`AudioError::Pipe`] for M4A and OGG that are no files.
    pub fn open(path: &Path, damage: Damage) -> Result<Self> {
        let failed = |source| AudioError::Open { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(AudioError::EmptyFile);
        }
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(|extension| extension.to_str()) {
            hint.with_extension(extension);
        }
        let again = || File::open(path).map_err(failed);
        let layout = Layout::of(&mut file).map_err(failed)?;
        if let Some(reason) = layout.refused {
            return Err(AudioError::UnknownCodec { reason });
        }
        let mut opened = guard(|| Self::probe(layout.media(file), &hint, damage))??;
        match opened.info.container {
            // Where it can seek, the reader estimates the length of a file without a tag from the size of its first
            // frames, and leaves out what lies behind.
            "mp3" if opened.info.frames.is_none() && metadata.is_file() => {
                let media = layout.media(again()?).sequential();
                opened = guard(|| Self::probe(media, &hint, damage))??;
            }
            container @ ("isomp4" | "ogg") if !metadata.is_file() => return Err(AudioError::Pipe { container }),
            "isomp4" => opened.apply_edits(mp4_edits::read(&mut again()?, opened.track_id).map_err(failed)?),
            "ogg" => opened.apply_pages(ogg_pages::check(&mut BufReader::new(again()?)).map_err(failed)?)?,
            _ => {}
        }
        opened.apply_layout(layout)?;
        if opened.info.codec == "aac" && guard(|| opened.has_sbr())? {
            return Err(AudioError::UnknownCodec { reason: he_aac::IMPLICIT.to_string() });
        }
        Ok(opened)
    }

    fn probe(media: Media, hint: &Hint, damage: Damage) -> Result<Self> {
        let stream = MediaSourceStream::new(Box::new(media), Default::default());
        let format = symphonia::default::get_probe()
            .probe(hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| AudioError::UnknownFormat { reason: reasons::of_reader(&error) })?;
        let no_sound = |reason: &str| AudioError::UnknownCodec { reason: reason.to_string() };
        let track = format.default_track(TrackType::Audio).ok_or_else(|| no_sound("there is no audio track"))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| no_sound("its codec is not known"))?;
        let config = parameters.extra_data.as_deref().filter(|_| parameters.codec == CODEC_ID_AAC);
        if let Some(he_aac::Config::Other(name)) = config.map(he_aac::read_config) {
            return Err(no_sound(&name));
        }
        let options = AudioDecoderOptions::default().verify(true);
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &options)
            .map_err(|_| no_sound(&reasons::of_codec(parameters)))?;
        let parameters = decoder.codec_params();
        let sample_rate = parameters.sample_rate.ok_or(AudioError::Rate { rate: 0 })?;
        check_rate(sample_rate)?;
        let container = format.format_info().short_name;
        let codec = decoder.codec_info().short_name;
        let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
        // symphonia undoes the coupling of more than two channels in the wrong order (Vorbis I, 4.3.5: the last pair
        // first) and returns something else without an error.
        if codec == "vorbis" && channels > 2 {
            return Err(no_sound(&format!("Vorbis with {channels} channels")));
        }
        // A LAME tag, of which the delay is a part, states the length; without one it is estimated.
        let is_estimate = ESTIMATED.contains(&container) && track.delay.is_none();
        // A length of zero is that of an MP4 file in fragments, each of which states its own.
        let frames = track.num_frames.filter(|&frames| !is_estimate && frames > 0);
        let info = AudioInfo { container, codec, sample_rate, channels, frames };
        Ok(AudioFile {
            track_id: track.id,
            info,
            format,
            decoder,
            damage,
            skip: 0,
            keep: None,
            cut_off: false,
            origin: 0,
            own_trims: false,
            pending: VecDeque::new(),
            packets: 0,
            resets: VecDeque::new(),
            channels_sound: false,
            mean_sounds: false,
            passed_over: false,
            interleaved: Vec::new(),
            mono: Vec::new(),
            position: 0,
            ended: false,
            notes: Vec::new(),
        })
    }

    fn apply_edits(&mut self, edits: mp4_edits::Edits) {
        let rate = f64::from(self.info.sample_rate);
        let samples = |seconds: f64| (seconds * rate).round() as u64;
        let delay = edits.delay.filter(|_| edits.edit.is_none() && self.info.codec == "aac");
        self.skip = edits.edit.map(|edit| samples(edit.start)).or(delay).unwrap_or(0);
        // The last packet may be shorter than what it decodes to: the media's duration says by how much.
        let media = self.info.frames.map(|frames| frames.saturating_sub(self.skip));
        let edited = edits.edit.and_then(|edit| edit.duration).map(samples);
        self.keep = [media, edited].into_iter().flatten().min();
        self.info.frames = media.and(self.keep);
    }

    fn apply_pages(&mut self, ogg: Ogg) -> Result<()> {
        let seconds = |samples: u64, rate: u32| samples as f64 / f64::from(rate);
        let rate = self.info.sample_rate;
        let blocks = ogg.vorbis.get(&self.track_id).filter(|_| self.info.codec == "vorbis");
        let heard = blocks.and_then(|blocks| blocks.heard());
        match ogg.pages {
            Pages::Whole if heard.is_none() => return Ok(()),
            // What follows a stream is refused when it is reached.
            Pages::Whole | Pages::Chained => {}
            Pages::CutOff => self.cut_off = true,
            Pages::Damaged { time } => self.damaged(seconds(time, rate), "a page is missing or has changed")?,
        }
        // It was taken from the first and the last page that are left.
        self.info.frames = None;
        let Some(heard) = heard.filter(|_| !matches!(ogg.pages, Pages::Damaged { .. })) else { return Ok(()) };
        self.own_trims = true;
        self.skip = heard.skip;
        if ogg.pages != Pages::CutOff {
            self.keep = Some(heard.keep);
        }
        if ogg.pages == Pages::Whole {
            self.info.frames = Some(heard.keep);
            if heard.behind > 0 {
                let note = "pages behind the first end of the stream were left out, as other players do";
                self.notes.push(format!("{} {note}", heard.behind));
            }
        }
        if let Some(missing) = heard.missing {
            let reason = format!("the pages count {} samples more than they hold", missing.count);
            self.damaged(seconds(missing.at, rate), &reason)?;
        }
        Ok(())
    }

    fn apply_layout(&mut self, layout: Layout) -> Result<()> {
        self.info.container = layout.container.unwrap_or(self.info.container);
        self.info.frames = layout.frames.or(self.info.frames);
        self.cut_off |= layout.cut_off;
        self.notes.extend(layout.notes);
        for hole in layout.holes {
            let place = match (self.damage, hole.filled) {
                (Damage::Refuse, _) => "",
                (Damage::Keep, true) => "; silence stands in their place",
                (Damage::Keep, false) => "; their length is not known and they were left out",
            };
            let reason = format!("{} bytes between two frames are not sound{place}", hole.bytes);
            self.damaged(hole.sample as f64 / f64::from(self.info.sample_rate), &reason)?;
            self.resets.push_back(hole.packet);
        }
        Ok(())
    }

    /// Whether the first packets hold SBR, which are read and kept for this.
    fn has_sbr(&mut self) -> bool {
        /// Enough for chance to be ruled out.
        const PACKETS: usize = 32;
        let config = self.format.tracks().iter().find(|track| track.id == self.track_id);
        let config = config.and_then(|track| track.codec_params.as_ref()?.audio()?.extra_data.as_deref());
        if config.is_some_and(|config| he_aac::read_config(config) == he_aac::Config::WithoutSbr) {
            return false;
        }
        while self.pending.len() < PACKETS {
            let read = self.format.next_packet();
            let is_last = !matches!(read, Ok(Some(_)));
            self.pending.push_back(read);
            if is_last {
                break;
            }
        }
        let packets = self.pending.iter().filter_map(|read| read.as_ref().ok()?.as_ref());
        he_aac::is_in(packets.filter(|packet| packet.track_id == self.track_id).map(|packet| &packet.data[..]))
    }

    /// What the file says of itself.
    pub fn info(&self) -> &AudioInfo {
        &self.info
    }

    /// Whether all channels together are silent so far and one of them is not: they cancel each other.
    pub fn channels_cancel(&self) -> bool {
        self.channels_sound && !self.mean_sounds
    }

    /// What was guessed or left out so far, and with [`Damage::Keep`] what is damaged.
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
        // The file was opened twice, and said the same both times.
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
