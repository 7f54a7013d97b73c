//! A reader for AU (Sun, NeXT): a 24-byte header, an annotation and samples. symphonia decodes the samples but has no
//! reader for the container.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, well_known};
use symphonia::core::common::FourCc;
use symphonia::core::errors::{Error as SymphoniaError, Result as SymphoniaResult};
use symphonia::core::formats::{FormatId, FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::{AudioError, Result};

/// The number of samples per channel in a packet, unless they would take more than [`LARGEST_PACKET`].
const FRAMES: u64 = 1152;

/// The largest packet in bytes of a file with many channels, whose number a damaged header may state.
const LARGEST_PACKET: u64 = 1 << 18;

const INFO: FormatInfo =
    FormatInfo { format: FormatId::new(FourCc::new(*b"AU  ")), short_name: "au", long_name: "AU (Sun/NeXT)" };

/// A reader for AU files.
pub(in crate::decode) struct AuReader {
    stream: MediaSourceStream<'static>,
    tracks: Vec<Track>,
    media_info: MediaInfo,
    metadata: MetadataLog,
    bytes_per_frame: u64,
    frames_per_packet: u64,
    /// The number of bytes of samples that are left; `None` if the header does not state the size.
    left: Option<u64>,
    position: u64,
}

impl AuReader {
    /// Reads the header from `stream`.
    ///
    /// # Errors
    /// [`AudioError::UnknownFormat`] for an invalid header, [`AudioError::UnknownCodec`] for an unsupported encoding.
    pub(in crate::decode) fn open(mut stream: MediaSourceStream<'static>) -> Result<Self> {
        let is_swapped = stream.read_quad_bytes().map_err(|_| incomplete())? == *b"dns.";
        let mut number = || {
            let bytes = stream.read_quad_bytes().map_err(|_| incomplete())?;
            Ok::<u32, AudioError>(if is_swapped { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
        };
        let (start, size, encoding, rate, channels) = (number()?, number()?, number()?, number()?, number()?);
        let (codec, bytes) = codec(encoding, is_swapped)?;
        let channels = u16::try_from(channels).ok().filter(|&channels| channels > 0);
        let channels = channels
            .ok_or_else(|| AudioError::unknown_format("the header of AU states an invalid number of channels"))?;
        let annotation = start.checked_sub(24).ok_or_else(|| {
            AudioError::unknown_format(format!("the header of AU states samples at byte {start}, inside the header"))
        })?;
        stream.ignore_bytes(annotation.into()).map_err(|_| incomplete())?;
        let bytes_per_frame = bytes * u64::from(channels);
        let frames_per_packet = (LARGEST_PACKET / bytes_per_frame).clamp(1, FRAMES);
        // Writers that do not know the size write all ones; some write 0 and never update it.
        let left = Some(u64::from(size)).filter(|&size| size != 0 && size != u64::from(u32::MAX));
        let mut parameters = AudioCodecParameters::new();
        parameters
            .for_codec(codec)
            .with_sample_rate(rate)
            .with_channels(Channels::Discrete(channels))
            .with_bits_per_sample(8 * bytes as u32)
            .with_max_frames_per_packet(frames_per_packet)
            .with_frames_per_block(1);
        let mut track = Track::new(0);
        track.with_codec_params(CodecParameters::Audio(parameters));
        if let Some(left) = left {
            track.with_num_frames(left / bytes_per_frame);
        }
        let media_info = MediaInfo::from_track(&track);
        let metadata = MetadataLog::default();
        Ok(AuReader {
            stream,
            tracks: vec![track],
            media_info,
            metadata,
            bytes_per_frame,
            frames_per_packet,
            left,
            position: 0,
        })
    }
}

/// The error for a file that ends within the header.
fn incomplete() -> AudioError {
    AudioError::unknown_format("the header of AU is incomplete")
}

/// The codec of an encoding number, and its bytes per sample.
fn codec(encoding: u32, is_little_endian: bool) -> Result<(AudioCodecId, u64)> {
    let (big, little, bytes) = match encoding {
        1 => (well_known::CODEC_ID_PCM_MULAW, well_known::CODEC_ID_PCM_MULAW, 1),
        2 => (well_known::CODEC_ID_PCM_S8, well_known::CODEC_ID_PCM_S8, 1),
        3 => (well_known::CODEC_ID_PCM_S16BE, well_known::CODEC_ID_PCM_S16LE, 2),
        4 => (well_known::CODEC_ID_PCM_S24BE, well_known::CODEC_ID_PCM_S24LE, 3),
        5 => (well_known::CODEC_ID_PCM_S32BE, well_known::CODEC_ID_PCM_S32LE, 4),
        6 => (well_known::CODEC_ID_PCM_F32BE, well_known::CODEC_ID_PCM_F32LE, 4),
        7 => (well_known::CODEC_ID_PCM_F64BE, well_known::CODEC_ID_PCM_F64LE, 8),
        27 => (well_known::CODEC_ID_PCM_ALAW, well_known::CODEC_ID_PCM_ALAW, 1),
        23 => return Err(AudioError::unknown_codec("AU with G.721 ADPCM")),
        24 => return Err(AudioError::unknown_codec("AU with G.722 ADPCM")),
        25 | 26 => return Err(AudioError::unknown_codec("AU with G.723 ADPCM")),
        _ => return Err(AudioError::unknown_codec(format!("AU with encoding {encoding}"))),
    };
    Ok((if is_little_endian { little } else { big }, bytes))
}

impl FormatReader for AuReader {
    fn format_info(&self) -> &FormatInfo {
        &INFO
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media_info
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    fn seek(&mut self, _: SeekMode, _: SeekTo) -> SymphoniaResult<SeekedTo> {
        Err(SymphoniaError::Unsupported("AU files are read from the start"))
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> SymphoniaResult<Option<Packet>> {
        let most = self.left.unwrap_or(u64::MAX).min(self.frames_per_packet * self.bytes_per_frame);
        let mut data = vec![0; usize::try_from(most).unwrap_or(0)];
        let mut length = 0;
        while length < data.len() {
            match self.stream.read_buf(&mut data[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.left = self.left.map(|left| left - length as u64);
        // An incomplete frame at the end is dropped.
        let frames = length as u64 / self.bytes_per_frame;
        if frames == 0 {
            return Ok(None);
        }
        data.truncate((frames * self.bytes_per_frame) as usize);
        let time = Timestamp::new(self.position.cast_signed());
        self.position += frames;
        Ok(Some(Packet::new(0, time, Duration::new(frames), data)))
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.stream
    }
}
