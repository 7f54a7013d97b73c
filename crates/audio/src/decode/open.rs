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
use super::quirks::media::Media;
use super::quirks::{he_aac, layout_of, matroska, mp4_edits, ogg_pages, quicktime};
use super::{codecs, ffmpeg, reader, truncation};
use crate::signature::{self, identify};
use crate::source::check_rate;
use crate::{AudioError, Result};

/// Containers whose length the reader estimates from the bit rate, unless a tag states it.
const ESTIMATED: [&str; 4] = ["aac", "mp1", "mp2", "mp3"];

/// The file or pipe that is being opened.
struct Input<'a> {
    path: &'a Path,
    /// Whether this is a regular file, which can be opened again.
    is_file: bool,
    /// The length of a regular file in bytes.
    length: u64,
}

impl<'a> Input<'a> {
    /// Opens `path`, and refuses a folder and an empty file.
    fn open(path: &'a Path) -> Result<(Self, File)> {
        let failed = AudioError::open(path);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let input = Input { path, is_file: metadata.is_file(), length: metadata.len() };
        if input.is_file && input.length == 0 {
            return Err(AudioError::EmptyFile);
        }
        Ok((input, file))
    }

    /// Opens the file again, at its start.
    fn reopen(&self) -> Result<File> {
        File::open(self.path).map_err(AudioError::open(self.path))
    }

    /// The error of a reader or decoder, in more detail if the file shows the cause.
    fn explain(&self, error: AudioError) -> Result<AudioError> {
        let failed = AudioError::open(self.path);
        match error {
            AudioError::UnknownFormat { .. } => {
                let missing = truncation::missing_part(&mut self.reopen()?).map_err(failed)?;
                Ok(missing.map_or(error, AudioError::incomplete))
            }
            AudioError::UnknownCodec { .. } => {
                let codec = quicktime::codec(&mut self.reopen()?).map_err(failed)?;
                Ok(codec.map_or(error, AudioError::unknown_codec))
            }
            error => Ok(error),
        }
    }
}

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
        let (input, mut file) = Input::open(path)?;
        if input.is_file && !signature::has_audio_extension(path) && identify(path).map_err(failed)?.is_none() {
            return Err(reader::unknown_format(&signature::head(path).map_err(failed)?));
        }
        let layout = layout_of(&mut file).map_err(failed)?;
        if let Some(lacks) = layout.lacks {
            return Err(AudioError::incomplete(format!("it ends before {lacks}")));
        }
        if let Some(reason) = layout.unsupported {
            return Err(AudioError::unknown_codec(reason));
        }
        let is_matroska = input.is_file && matroska::is_matroska(&mut input.reopen()?).map_err(failed)?;
        let not_default = match is_matroska {
            true => matroska::not_default(input.reopen()?).map_err(failed)?,
            false => Vec::new(),
        };
        let probe = |media: Media| guard(|| Self::probe(Box::new(media), damage, &not_default))?;
        let mut opened = probe(layout.media(file));
        // The reader looks for an index at the end, which a truncated file does not have.
        if is_matroska && matches!(opened, Err(AudioError::UnknownFormat { .. })) {
            opened = probe(layout.media(input.reopen()?).sequential());
        }
        let mut opened = match opened {
            Err(error) if input.is_file => return Err(input.explain(error)?),
            opened => opened?,
        };
        // On a seekable stream without a tag, the reader estimates the length from the size of the first frames and drops
        // what follows.
        if ["mp1", "mp2", "mp3"].contains(&opened.info.container) && opened.info.frames.is_none() && input.is_file {
            let is_truncated = opened.is_truncated;
            opened = probe(layout.media(input.reopen()?).sequential())?;
            opened.is_truncated |= is_truncated;
        }
        opened.apply_container(&input)?;
        opened.apply_layout(layout)?;
        if opened.info.codec == "aac" && guard(|| opened.has_sbr())? {
            return Err(AudioError::unknown_codec(he_aac::IMPLICIT));
        }
        Ok(opened)
    }

    /// Applies the statements of the container that the reader ignores.
    fn apply_container(&mut self, input: &Input<'_>) -> Result<()> {
        let failed = AudioError::open(input.path);
        match self.info.container {
            container @ ("isomp4" | "ogg" | "matroska" | "caf") if !input.is_file => {
                return Err(AudioError::NotSeekable { container });
            }
            "isomp4" => {
                self.apply_edits(mp4_edits::read(&mut input.reopen()?, self.track_id).map_err(failed)?);
                let descriptions = quicktime::read(&mut input.reopen()?).map_err(failed)?;
                if descriptions.iter().any(|it| it.track == self.track_id && it.is_big_endian()) {
                    self.decoder = codecs::big_endian(self.decoder.codec_params())?;
                    self.info.codec = self.decoder.codec_info().short_name;
                }
            }
            "matroska" => {
                let trims = matroska::read_trims(input.reopen()?, input.length, self.track_id).map_err(failed)?;
                self.apply_matroska(trims);
            }
            "ogg" => self.apply_pages(ogg_pages::check(&mut BufReader::new(input.reopen()?)).map_err(failed)?)?,
            _ => {}
        }
        Ok(())
    }

    /// Opens the reader, and the decoder of the first audio track that is not in `not_default`.
    fn probe(media: Box<dyn MediaSource>, damage: Damage, not_default: &[u32]) -> Result<Self> {
        let stream = MediaSourceStream::new(media, Default::default());
        let reader::Opened { name, format, is_truncated } = reader::open(stream)?;
        let audio = |track: &&Track| matches!(track.codec_params, Some(CodecParameters::Audio(_)));
        let tracks = || format.tracks().iter().filter(audio);
        let default = tracks().find(|track| !not_default.is_empty() && !not_default.contains(&track.id));
        let track = default.or_else(|| format.default_track(TrackType::Audio));
        let track = track.ok_or_else(|| AudioError::unknown_codec(format!("{name} with no audio track")))?;
        let number = tracks().position(|it| it.id == track.id).map_or(0, |index| index + 1);
        let count = tracks().count();
        let several = (count > 1).then(|| format!("audio track {number} of {count} was read"));
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters =
            parameters.ok_or_else(|| AudioError::unknown_codec(format!("{name} with an unknown codec")))?;
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
            selected: None,
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
