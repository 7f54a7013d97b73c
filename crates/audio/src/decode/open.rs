//! Opening a file: the bytes presented to the reader, the decoder, and the trims of the decoded samples.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::formats::{Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};

use super::quirks::ogg_pages::{self, Ogg, Pages};
use super::quirks::{Layout, he_aac, mp4_edits};
use super::{AudioFile, AudioInfo, Damage, ReadOptions, ffmpeg, guard, incomplete, matroska, quicktime, reader};
use crate::resample::check_rate;
use crate::signature::{self, identify};
use crate::{AudioError, Result};

/// Formats whose length is estimated from the bit rate unless a tag states it.
const ESTIMATED: [&str; 4] = ["aac", "mp1", "mp2", "mp3"];

impl AudioFile {
    /// Opens `path` and reads its headers.
    ///
    /// # Errors
    /// [`AudioError::Open`], [`AudioError::EmptyFile`], [`AudioError::UnknownFormat`], [`AudioError::NotAudio`],
    /// [`AudioError::NotRead`] or [`AudioError::Rate`]; [`AudioError::Damaged`] for an Ogg file, whose pages are
    /// checked here; [`AudioError::Pipe`] for M4A, Ogg, Matroska and CAF read from a pipe.
    pub fn open(path: &Path, options: impl Into<ReadOptions>) -> Result<Self> {
        let options = options.into();
        match Self::open_natively(path, options.damage) {
            Err(AudioError::UnknownCodec { .. } | AudioError::UnknownFormat { .. })
                if options.ffmpeg && path.is_file() =>
            {
                Self::open_by_ffmpeg(path, options.damage)
            }
            // ffmpeg does not always say that a file ends too early.
            Err(AudioError::Incomplete { .. }) if options.ffmpeg && options.damage == Damage::Keep => {
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
        let mut opened = guard(|| Self::probe(Box::new(output), damage, &[]))??;
        opened.info.container = "ffmpeg";
        // WAV written to a pipe does not state its length.
        opened.info.frames = None;
        opened.notes.push(format!("decoded by ffmpeg {}", ffmpeg::ffmpeg_version()?));
        opened.ffmpeg = Some(notes);
        Ok(opened)
    }

    fn open_natively(path: &Path, damage: Damage) -> Result<Self> {
        let failed = |source| AudioError::Open { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(AudioError::EmptyFile);
        }
        let again = || File::open(path).map_err(failed);
        if metadata.is_file() && !signature::is_named_as_audio(path) && identify(path).map_err(failed)?.is_none() {
            return Err(reader::unknown_format(&signature::head(path).map_err(failed)?));
        }
        let layout = Layout::of(&mut file).map_err(failed)?;
        if let Some(lacks) = layout.lacks {
            return Err(AudioError::Incomplete { reason: format!("it ends before {lacks}") });
        }
        if let Some(reason) = layout.refused {
            return Err(AudioError::UnknownCodec { reason });
        }
        let not_default = match metadata.is_file() && incomplete::is_matroska(&mut again()?).map_err(failed)? {
            true => matroska::not_default(again()?).map_err(failed)?,
            false => Vec::new(),
        };
        let mut probed = guard(|| Self::probe(Box::new(layout.media(file)), damage, &not_default))?;
        // The reader looks for an index at the end, which a file that was cut off does not have.
        if matches!(probed, Err(AudioError::UnknownFormat { .. }))
            && metadata.is_file()
            && incomplete::is_matroska(&mut again()?).map_err(failed)?
        {
            let media = layout.media(again()?).sequential();
            probed = guard(|| Self::probe(Box::new(media), damage, &not_default))?;
        }
        let mut opened = match probed {
            Err(AudioError::UnknownFormat { reason }) if metadata.is_file() => {
                let cause = incomplete::reason(&mut again()?).map_err(failed)?;
                return Err(
                    cause.map_or(AudioError::UnknownFormat { reason }, |reason| AudioError::Incomplete { reason })
                );
            }
            Err(error @ (AudioError::UnknownCodec { .. } | AudioError::UnknownFormat { .. })) if metadata.is_file() => {
                let codec = quicktime::codec(&mut again()?).map_err(failed)?;
                return Err(codec.map_or(error, |codec| AudioError::UnknownCodec { reason: codec.to_string() }));
            }
            opened => opened?,
        };
        match opened.info.container {
            // On a seekable stream without a tag, the reader estimates the length from the size of the first frames and
            // drops what follows.
            "mp1" | "mp2" | "mp3" if opened.info.frames.is_none() && metadata.is_file() => {
                let media = layout.media(again()?).sequential();
                let cut_off = opened.cut_off;
                opened = guard(|| Self::probe(Box::new(media), damage, &not_default))??;
                opened.cut_off |= cut_off;
            }
            container @ ("isomp4" | "ogg" | "matroska" | "caf") if !metadata.is_file() => {
                return Err(AudioError::Pipe { container });
            }
            "isomp4" => {
                opened.apply_edits(mp4_edits::read(&mut again()?, opened.track_id).map_err(failed)?);
                let descriptions = quicktime::read(&mut again()?).map_err(failed)?;
                if descriptions.iter().any(|it| it.track == opened.track_id && it.is_big_endian()) {
                    opened.decoder = reader::big_endian(opened.decoder.codec_params())?;
                    opened.info.codec = opened.decoder.codec_info().short_name;
                }
            }
            "matroska" => {
                let layout = matroska::read(again()?, metadata.len(), opened.track_id).map_err(failed)?;
                opened.apply_matroska(layout);
            }
            "ogg" => opened.apply_pages(ogg_pages::check(&mut BufReader::new(again()?)).map_err(failed)?)?,
            _ => {}
        }
        opened.apply_layout(layout)?;
        if opened.info.codec == "aac" && guard(|| opened.has_sbr())? {
            return Err(AudioError::UnknownCodec { reason: he_aac::IMPLICIT.to_string() });
        }
        Ok(opened)
    }

    /// Opens the reader and decoder of the first audio track that is not in `not_default`, if there are several.
    fn probe(media: Box<dyn MediaSource>, damage: Damage, not_default: &[u32]) -> Result<Self> {
        let stream = MediaSourceStream::new(media, Default::default());
        let reader::Opened { name, format, cut_off } = reader::open(stream)?;
        let no_sound = |reason: &str| AudioError::UnknownCodec { reason: format!("{name} with {reason}") };
        let audio = |track: &&Track| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
        let tracks = || format.tracks().iter().filter(audio);
        let default = tracks().find(|track| !not_default.is_empty() && !not_default.contains(&track.id));
        let track = default.or_else(|| format.default_track(TrackType::Audio));
        let track = track.ok_or_else(|| no_sound("no audio track"))?;
        let number = tracks().position(|it| it.id == track.id).map_or(0, |place| place + 1);
        let count = tracks().count();
        let several = (count > 1).then(|| format!("of {count} audio tracks, number {number} was read"));
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| no_sound("an unknown codec"))?;
        let config = parameters.extra_data.as_deref().filter(|_| parameters.codec == CODEC_ID_AAC);
        if let Some(he_aac::Config::Other(name)) = config.map(he_aac::read_config) {
            return Err(AudioError::UnknownCodec { reason: name });
        }
        let (decoder, pre_skip) = reader::decoder(parameters)?;
        let parameters = decoder.codec_params();
        let sample_rate = parameters.sample_rate.ok_or(AudioError::Rate { rate: 0 })?;
        check_rate(sample_rate)?;
        let container = format.format_info().short_name;
        let codec = decoder.codec_info().short_name;
        let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
        // A LAME tag, which also holds the delay, states the length; without it the length is estimated.
        let is_estimate = ESTIMATED.contains(&container) && track.delay.is_none();
        // A length of zero means a fragmented MP4, whose fragments state their own lengths.
        let frames = track.num_frames.filter(|&frames| !is_estimate && frames > 0);
        let (skip, keep, frames) = match (container, codec) {
            // The packet table counts the last packet as full.
            ("caf", "alac") => (track.delay.map_or(0, u64::from), frames, None),
            ("caf", _) => (track.delay.map_or(0, u64::from), frames, frames),
            // Granule positions include the pre-skip and may start anywhere.
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
            own_trims: false,
            pending: VecDeque::new(),
            packets: 0,
            resets: VecDeque::new(),
            discard: None,
            ffmpeg: None,
            channels_sound: false,
            mean_sounds: false,
            origin: 0,
            passed_over: false,
            interleaved: Vec::new(),
            mono: Vec::new(),
            position: 0,
            ended: false,
            notes: several.into_iter().collect(),
        })
    }

    fn apply_edits(&mut self, edits: mp4_edits::Edits) {
        let rate = f64::from(self.info.sample_rate);
        let samples = |seconds: f64| (seconds * rate).round() as u64;
        let delay = edits.delay.filter(|_| edits.edit.is_none() && self.info.codec == "aac");
        self.skip = edits.edit.map(|edit| samples(edit.start)).or(delay).unwrap_or(self.skip);
        // The last packet may decode to more samples than the media's duration.
        let media = self.info.frames.map(|frames| frames.saturating_sub(self.skip));
        let edited = edits.edit.and_then(|edit| edit.duration).map(samples);
        self.keep = [media, edited].into_iter().flatten().min();
        self.info.frames = media.and(self.keep);
    }

    fn apply_matroska(&mut self, layout: matroska::Layout) {
        let rate = f64::from(self.info.sample_rate);
        let samples = |nanoseconds: u64| (nanoseconds as f64 * 1e-9 * rate).round() as u64;
        // Opus states its delay in its own header, too.
        if self.info.codec != "opus" {
            self.skip = samples(layout.delay);
        }
        self.discard = layout.discard.map(|(packet, nanoseconds)| (packet, samples(nanoseconds)));
        self.cut_off |= layout.cut_off;
    }

    fn apply_pages(&mut self, ogg: Ogg) -> Result<()> {
        let seconds = |samples: u64, rate: u32| samples as f64 / f64::from(rate);
        let rate = self.info.sample_rate;
        let blocks = ogg.vorbis.get(&self.track_id).filter(|_| self.info.codec == "vorbis");
        let heard = blocks.and_then(|blocks| blocks.heard());
        match ogg.pages {
            Pages::Whole if heard.is_none() => return Ok(()),
            // Data after the stream is refused when reading reaches it.
            Pages::Whole | Pages::Chained => {}
            Pages::CutOff => self.cut_off = true,
            Pages::Damaged { time } => self.damaged(seconds(time, rate), "a page is missing or has changed")?,
        }
        // The length was computed from the first and last page that remain.
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
                let note = "pages after the first end of the stream were left out, as other players do";
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
        // A tag without a delay is not taken for the length.
        if let Some(behind) = layout.behind.filter(|_| self.info.frames.is_some()) {
            let frames = if behind == 1 { "frame" } else { "frames" };
            let note = "behind the end that the tag states left out: the file may be several joined";
            self.notes.push(format!("{behind} {frames} {note}"));
        }
        for hole in layout.holes {
            let place = match (self.damage, hole.filled) {
                (Damage::Refuse, _) => "",
                (Damage::Keep, true) => "; they were replaced with silence",
                (Damage::Keep, false) => "; their length is not known and they were left out",
            };
            let reason = format!("{} bytes between two frames are not sound{place}", hole.bytes);
            self.damaged(hole.sample as f64 / f64::from(self.info.sample_rate), &reason)?;
            self.resets.push_back(hole.packet);
        }
        Ok(())
    }

    /// Whether the first packets hold SBR. They are kept for decoding.
    fn has_sbr(&mut self) -> bool {
        /// Enough packets to rule out chance matches.
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
}
