//! Opening a file: the bytes presented to the reader, the reader and decoder, and the trims of the decoded samples.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::formats::{Track, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};

use super::file::AudioFile;
use super::guard::guard;
use super::options::{AudioInfo, Damage, ReadOptions};
use super::quirks::{he_aac, layout_of, matroska, mp4_edits, ogg_pages, quicktime};
use super::{codecs, ffmpeg, reader, truncation};
use crate::resample::check_rate;
use crate::signature::{self, identify};
use crate::{AudioError, Result};

/// Containers whose length the reader estimates from the bit rate, unless a tag states it.
const ESTIMATED: [&str; 4] = ["aac", "mp1", "mp2", "mp3"];

impl AudioFile {
    /// Opens `path` and reads its headers.
    ///
    /// # Errors
    /// [`AudioError::Open`], [`AudioError::EmptyFile`], [`AudioError::UnknownFormat`], [`AudioError::NotAudio`],
    /// [`AudioError::Unsupported`] or [`AudioError::InvalidRate`]; [`AudioError::Damaged`] for an Ogg file, whose pages
    /// are checked here; [`AudioError::NotSeekable`] for M4A, Ogg, Matroska and CAF read from a pipe.
    pub fn open(path: &Path, options: impl Into<ReadOptions>) -> Result<Self> {
        let options = options.into();
        match Self::open_natively(path, options.damage) {
            Err(AudioError::UnknownCodec { .. } | AudioError::UnknownFormat { .. })
                if options.ffmpeg && path.is_file() =>
            {
                Self::open_by_ffmpeg(path, options.damage)
            }
            // ffmpeg does not always report that a file is truncated.
            Err(AudioError::Incomplete { .. }) if options.ffmpeg && options.damage == Damage::Keep => {
                Self::open_by_ffmpeg(path, options.damage)
            }
            Err(AudioError::UnknownCodec { reason }) => {
                Err(AudioError::Unsupported { what: reason, command: ffmpeg::command(path), ffmpeg: !options.ffmpeg })
            }
            opened => opened,
        }
    }

    fn open_by_ffmpeg(path: &Path, damage: Damage) -> Result<Self> {
        let (output, notes) = ffmpeg::start(path, damage)?;
        let mut opened = guard(|| Self::probe(Box::new(output), damage, &[]))??;
        opened.info.container = "ffmpeg";
        // A file written to a pipe does not state its length.
        opened.info.frames = None;
        opened.notes.push(format!("decoded by ffmpeg {}", ffmpeg::ffmpeg_version()?));
        opened.ffmpeg = Some(notes);
        Ok(opened)
    }

    fn open_natively(path: &Path, damage: Damage) -> Result<Self> {
        let failed = AudioError::open(path);
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(AudioError::EmptyFile);
        }
        let reopen = || File::open(path).map_err(failed);
        if metadata.is_file() && !signature::has_audio_extension(path) && identify(path).map_err(failed)?.is_none() {
            return Err(reader::unknown_format(&signature::head(path).map_err(failed)?));
        }
        let layout = layout_of(&mut file).map_err(failed)?;
        if let Some(lacks) = layout.lacks {
            return Err(AudioError::incomplete(format!("it ends before {lacks}")));
        }
        if let Some(reason) = layout.unsupported {
            return Err(AudioError::unknown_codec(reason));
        }
        let not_default = match metadata.is_file() && matroska::is_matroska(&mut reopen()?).map_err(failed)? {
            true => matroska::not_default(reopen()?).map_err(failed)?,
            false => Vec::new(),
        };
        let mut probed = guard(|| Self::probe(Box::new(layout.media(file)), damage, &not_default))?;
        // The reader looks for an index at the end, which a truncated file does not have.
        if matches!(probed, Err(AudioError::UnknownFormat { .. }))
            && metadata.is_file()
            && matroska::is_matroska(&mut reopen()?).map_err(failed)?
        {
            let media = layout.media(reopen()?).sequential();
            probed = guard(|| Self::probe(Box::new(media), damage, &not_default))?;
        }
        let mut opened = match probed {
            Err(AudioError::UnknownFormat { reason }) if metadata.is_file() => {
                let missing = truncation::missing_part(&mut reopen()?).map_err(failed)?;
                return Err(missing.map_or(AudioError::UnknownFormat { reason }, AudioError::incomplete));
            }
            Err(error @ (AudioError::UnknownCodec { .. } | AudioError::UnknownFormat { .. })) if metadata.is_file() => {
                let codec = quicktime::codec(&mut reopen()?).map_err(failed)?;
                return Err(codec.map_or(error, AudioError::unknown_codec));
            }
            opened => opened?,
        };
        match opened.info.container {
            // On a seekable stream without a tag, the reader estimates the length from the size of the first frames and
            // drops what follows.
            "mp1" | "mp2" | "mp3" if opened.info.frames.is_none() && metadata.is_file() => {
                let media = layout.media(reopen()?).sequential();
                let is_truncated = opened.is_truncated;
                opened = guard(|| Self::probe(Box::new(media), damage, &not_default))??;
                opened.is_truncated |= is_truncated;
            }
            container @ ("isomp4" | "ogg" | "matroska" | "caf") if !metadata.is_file() => {
                return Err(AudioError::NotSeekable { container });
            }
            "isomp4" => {
                opened.apply_edits(mp4_edits::read(&mut reopen()?, opened.track_id).map_err(failed)?);
                let descriptions = quicktime::read(&mut reopen()?).map_err(failed)?;
                if descriptions.iter().any(|it| it.track == opened.track_id && it.is_big_endian()) {
                    opened.decoder = codecs::big_endian(opened.decoder.codec_params())?;
                    opened.info.codec = opened.decoder.codec_info().short_name;
                }
            }
            "matroska" => {
                let trims = matroska::read_trims(reopen()?, metadata.len(), opened.track_id).map_err(failed)?;
                opened.apply_matroska(trims);
            }
            "ogg" => opened.apply_pages(ogg_pages::check(&mut BufReader::new(reopen()?)).map_err(failed)?)?,
            _ => {}
        }
        opened.apply_layout(layout)?;
        if opened.info.codec == "aac" && guard(|| opened.has_sbr())? {
            return Err(AudioError::unknown_codec(he_aac::IMPLICIT));
        }
        Ok(opened)
    }

    /// Opens the reader, and the decoder of the first audio track that is not in `not_default`.
    fn probe(media: Box<dyn MediaSource>, damage: Damage, not_default: &[u32]) -> Result<Self> {
        let stream = MediaSourceStream::new(media, Default::default());
        let reader::Opened { name, format, is_truncated } = reader::open(stream)?;
        let no_audio = |reason: &str| AudioError::unknown_codec(format!("{name} with {reason}"));
        let audio = |track: &&Track| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
        let tracks = || format.tracks().iter().filter(audio);
        let default = tracks().find(|track| !not_default.is_empty() && !not_default.contains(&track.id));
        let track = default.or_else(|| format.default_track(TrackType::Audio));
        let track = track.ok_or_else(|| no_audio("no audio track"))?;
        let number = tracks().position(|it| it.id == track.id).map_or(0, |index| index + 1);
        let count = tracks().count();
        let several = (count > 1).then(|| format!("of {count} audio tracks, number {number} was read"));
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| no_audio("an unknown codec"))?;
        let config = parameters.extra_data.as_deref().filter(|_| parameters.codec == CODEC_ID_AAC);
        if let Some(he_aac::Config::Other(name)) = config.map(he_aac::read_config) {
            return Err(AudioError::unknown_codec(name));
        }
        let (decoder, pre_skip) = codecs::decoder(parameters)?;
        let parameters = decoder.codec_params();
        let sample_rate = parameters.sample_rate.ok_or(AudioError::InvalidRate { rate: 0 })?;
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
            is_truncated,
            own_trims: false,
            pending: VecDeque::new(),
            packets: 0,
            resets: VecDeque::new(),
            discard: None,
            ffmpeg: None,
            channels_nonzero: false,
            mean_nonzero: false,
            origin: 0,
            has_skipped: false,
            interleaved: Vec::new(),
            mono: Vec::new(),
            position: 0,
            ended: false,
            notes: several.into_iter().collect(),
        })
    }

    /// Whether the first packets hold SBR. They are read ahead of decoding.
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
        he_aac::have_sbr(packets.filter(|packet| packet.track_id == self.track_id).map(|packet| &packet.data[..]))
    }
}
