use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

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

/// What a lossy stream may be short of its stated length without being truncated, in samples: encoders disagree
/// on what of their delay and padding they count. It is two frames of MP3, and more than the delay of any encoder.
const LOSSY_TOLERANCE: u64 = 2304;

impl AudioFile {
    /// Opens `path` and reads as much of it as tells what is in it.
    ///
    /// # Errors
    /// [`AudioError::Open`], [`AudioError::EmptyFile`], [`AudioError::UnknownFormat`],
    /// [`AudioError::UnknownCodec`] or [`AudioError::Rate`]; [`AudioError::Damaged`] for an Ogg file, which is
    /// checked here.
    pub fn open(path: &Path, damage: Damage) -> Result<Self> {
        let failed = |source| AudioError::Open { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
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
        let media = Media::new(file).map_err(failed)?;
        let mut opened = guard(|| Self::probe(media, &hint, damage))??;
        let again = || File::open(path).map_err(failed);
        match opened.info.container {
            "isomp4" => opened.apply_edit(mp4_edits::read(&mut again()?, opened.track_id).map_err(failed)?),
            "ogg" => opened.apply_pages(ogg_pages::check(&mut BufReader::new(again()?)).map_err(failed)?)?,
            _ => {}
        }
        Ok(opened)
    }

    fn probe(media: Media, hint: &Hint, damage: Damage) -> Result<Self> {
        let stream = MediaSourceStream::new(Box::new(media), Default::default());
        let format = symphonia::default::get_probe()
            .probe(hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| AudioError::UnknownFormat { reason: error.to_string() })?;
        let no_sound = |reason: &str| AudioError::UnknownCodec { reason: reason.to_string() };
        let track = format.default_track(TrackType::Audio).ok_or_else(|| no_sound("there is no audio track"))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| no_sound("its codec is not known"))?;
        let options = AudioDecoderOptions::default().verify(true);
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &options)
            .map_err(|error| no_sound(&error.to_string()))?;
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
        self.skip = edit.map_or(0, |edit| samples(edit.start));
        // The last packet may be shorter than what it decodes to: the media's duration says by how much.
        let media = self.info.frames.map(|frames| frames.saturating_sub(self.skip));
        let edited = edit.and_then(|edit| edit.duration).map(samples);
        self.keep = [media, edited].into_iter().flatten().min();
        self.info.frames = media.and(self.keep);
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
    pub fn count(mut self) -> Result<u64> {
        // The last packet of other formats may have fewer samples than it says.
        if self.info.codec == "mp3" {
            self.pass_over(u64::MAX)?;
        }
        while self.next_block()?.is_some() {}
        Ok(self.position)
    }

    fn seconds(&self) -> f64 {
        self.position as f64 / f64::from(self.info.sample_rate)
    }

    /// The next packet of the track, `None` at the end.
    fn next_packet(&mut self) -> Result<Option<Packet>> {
        if let Some(packet) = self.pending.take() {
            return Ok(Some(packet));
        }
        loop {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track_id => return Ok(Some(packet)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(SymphoniaError::ResetRequired) => {
                    let what = "another stream begins".to_string();
                    return Err(AudioError::Changes { seconds: self.seconds(), what });
                }
                Err(SymphoniaError::IoError(error)) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                    return Err(error.into());
                }
                Err(SymphoniaError::IoError(_)) => {
                    // A WAV file that was written to a pipe does not state its length, and ends where it ends.
                    self.cut_off |= !(self.info.container == "wave" && self.info.frames.is_none());
                    return Ok(None);
                }
                // What follows cannot be found: this is the end.
                Err(error) => {
                    self.damaged(self.seconds(), &error.to_string())?;
                    return Ok(None);
                }
            }
        }
    }

    /// Notes damage, or refuses it.
    fn damaged(&mut self, seconds: f64, reason: &str) -> Result<()> {
        match self.damage {
            Damage::Refuse => Err(AudioError::Damaged { seconds, reason: reason.to_string() }),
            Damage::Keep => {
                // Enough to see what is wrong: a file may be damaged in thousands of places.
                const MOST: usize = 8;
                if self.notes.len() < MOST {
                    self.notes.push(format!("damaged at {seconds:.2} s: {reason}"));
                }
                Ok(())
            }
        }
    }

    /// Decodes a packet into `mono`.
    fn decode(&mut self, packet: &Packet) -> Result<()> {
        let failure = match self.decoder.decode(packet) {
            Ok(buffer) => {
                let spec = buffer.spec();
                let (rate, channels) = (spec.rate(), spec.channels().count());
                // Some decoders learn the channels only from the first packet.
                if self.info.channels == 0 {
                    self.info.channels = channels;
                }
                let info = &self.info;
                if (rate, channels) != (info.sample_rate, info.channels) || channels == 0 {
                    let was = (info.sample_rate, info.channels);
                    let what = format!("from {} Hz and {} channels to {rate} Hz and {channels}", was.0, was.1);
                    return Err(AudioError::Changes { seconds: self.seconds(), what });
                }
                buffer.copy_to_vec_interleaved::<f32>(&mut self.interleaved);
                self.mono.clear();
                if channels == 1 {
                    self.mono.extend_from_slice(&self.interleaved);
                } else {
                    let frames = self.interleaved.chunks_exact(channels);
                    self.mono.extend(frames.map(|frame| frame.iter().sum::<f32>() / channels as f32));
                }
                return Ok(());
            }
            Err(SymphoniaError::ResetRequired) => {
                let what = "the decoder must start anew".to_string();
                return Err(AudioError::Changes { seconds: self.seconds(), what });
            }
            Err(error) => error.to_string(),
        };
        self.damaged(self.seconds(), &failure)?;
        self.mono.clear();
        let frames = self.frames_in(packet.dur);
        self.mono.resize(usize::try_from(frames).unwrap_or(0), 0.0);
        Ok(())
    }

    fn time_base(&self) -> Option<TimeBase> {
        self.format.tracks().iter().find(|track| track.id == self.track_id)?.time_base
    }

    /// Whether the times of packets are whole numbers of samples.
    fn counts_samples(&self) -> bool {
        self.time_base().is_some_and(|base| base.numer.get() == 1 && base.denom.get() == self.info.sample_rate)
    }

    /// How many samples a packet stands for; none if its time is no time of a packet.
    fn frames_in(&self, duration: Duration) -> u64 {
        const LONGEST_PACKET: u64 = 1 << 20;
        let Some(base) = self.time_base() else { return 0 };
        let (numer, denom) = (u128::from(base.numer.get()), u128::from(base.denom.get()));
        let frames = u128::from(duration.get()) * numer * u128::from(self.info.sample_rate) / denom;
        u64::try_from(frames).ok().filter(|&frames| frames <= LONGEST_PACKET).unwrap_or(0)
    }

    /// Leaves out of `mono` what the edit list does.
    fn apply_bounds(&mut self) {
        let skipped = self.skip.min(self.mono.len() as u64);
        self.mono.drain(..skipped as usize);
        self.skip -= skipped;
        if let Some(keep) = self.keep {
            let room = keep.saturating_sub(self.position);
            self.mono.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
    }

    /// How many samples fewer than stated are no sign of damage.
    fn tolerance(&self) -> u64 {
        match (self.info.container, self.info.codec) {
            // Its pages were checked, and tell more.
            ("ogg", _) => u64::MAX,
            (_, "flac" | "alac") => 0,
            (_, codec) if codec.starts_with("pcm") => 0,
            _ => LOSSY_TOLERANCE,
        }
    }

    /// How many samples are missing between those before and `packet`: frames of FLAC that are damaged are left out
    /// by the reader without a word.
    fn gap_before(&mut self, packet: &Packet) -> u64 {
        if self.info.container != "flac" {
            return 0;
        }
        let time = u64::try_from(packet.pts.get()).unwrap_or(0);
        // A stream that was recorded from some time on does not state a length.
        if self.position == 0 && self.info.frames.is_none() {
            self.origin = time;
        }
        time.saturating_sub(self.origin + self.position)
    }

    /// The silence that takes the place of what is missing before `packet`, in samples.
    fn missing_before(&mut self, packet: &Packet) -> Result<usize> {
        /// More is left out, not filled up.
        const LONGEST_GAP: u64 = 1 << 22;
        let missing = self.gap_before(packet);
        if missing > 0 {
            self.damaged(self.seconds(), "frames are missing or have changed")?;
        }
        if missing > LONGEST_GAP {
            self.origin += missing;
            return Ok(0);
        }
        Ok(missing as usize)
    }

    /// Whether all was there and right.
    fn check_end(&mut self) -> Result<()> {
        let found = self.seconds();
        let announced = self.info.frames.map(|frames| frames as f64 / f64::from(self.info.sample_rate));
        let missing = self.info.frames.map_or(0, |frames| frames.saturating_sub(self.position));
        if missing > self.tolerance() || self.cut_off {
            match self.damage {
                Damage::Refuse => return Err(AudioError::Truncated { found, announced }),
                Damage::Keep => self.notes.push(AudioError::Truncated { found, announced }.to_string()),
            }
        } else if !self.passed_over && self.decoder.finalize().verify_ok == Some(false) && self.notes.is_empty() {
            self.damaged(found, "the samples do not have the checksum that the file states")?;
        }
        Ok(())
    }

    /// How many samples a decoder must have seen before those that are wanted come out as if it had seen all;
    /// `None` if that needs all.
    fn decoder_lead(&self) -> Option<u64> {
        match self.info.codec {
            "flac" | "alac" => Some(0),
            codec if codec.starts_with("pcm") => Some(0),
            // The data of a frame may begin 511 bytes earlier (255 in MPEG-2, whose smallest frame has 11 bytes of
            // data), and its filters reach over two frames: fewer than 32 frames.
            "mp3" => Some(32 * 1152),
            // A packet overlaps with the one before, and the longest has 8192 samples.
            "vorbis" => Some(2 * 8192),
            // AAC may hold noise from a generator that runs on from packet to packet.
            _ => None,
        }
    }

    /// Reads the packets that end before the sample `end`, of which only those less than `lead` before it are decoded.
    fn pass_over_packets(&mut self, end: u64, lead: u64) -> Result<()> {
        while let Some(packet) = self.next_packet()? {
            // symphonia 0.6 does not take what is trimmed of an MP3 packet from its duration.
            if [packet.trim_start, packet.trim_end] != [Duration::ZERO; 2] {
                self.decode(&packet)?;
                self.apply_bounds();
                self.position += self.mono.len() as u64;
                continue;
            }
            let frames = self.frames_in(packet.dur);
            let left_out = self.skip.min(frames);
            let next = self.position + frames - left_out;
            if next > end || self.gap_before(&packet) > 0 {
                self.pending = Some(packet);
                return Ok(());
            }
            if end - next < lead {
                // For what the decoder remembers of it. The first of these may come out wrong and in a wrong length.
                let _ = self.decoder.decode(&packet);
            }
            self.passed_over = true;
            self.skip -= left_out;
            self.position = next;
        }
        self.ended = true;
        self.check_end()
    }

    fn advance(&mut self) -> Result<bool> {
        while !self.ended {
            let Some(packet) = self.next_packet()? else {
                self.ended = true;
                self.check_end()?;
                break;
            };
            let missing = self.missing_before(&packet)?;
            self.decode(&packet)?;
            self.mono.splice(0..0, std::iter::repeat_n(0.0, missing));
            self.apply_bounds();
            if !self.mono.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
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
