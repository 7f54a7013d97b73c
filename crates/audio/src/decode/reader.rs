//! The reader for a file, chosen by its first bytes. symphonia's probe is not used: it searches for a header anywhere
//! in the first megabyte, where one may belong to other data.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes, SeekBuffered};
use symphonia::default::formats::{
    AdtsReader, AiffReader, CafReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader,
};

use super::containers::au::AuReader;
use super::containers::mpeg_in_wave::{self, WaveHeader};
use super::reasons;
use crate::signature::{self, Format, HEAD, Kind, LONG_HEAD};
use crate::{AudioError, Result, id3v2};

/// A reader that has read the header of a file.
pub(super) struct Opened {
    /// The name of the format.
    pub(super) name: &'static str,
    pub(super) format: Box<dyn FormatReader>,
    /// Whether the file is known to be truncated.
    pub(super) is_truncated: bool,
}

/// Opens the reader for the format of `stream`, and reads the header.
pub(super) fn open(mut stream: MediaSourceStream<'static>) -> Result<Opened> {
    let head = head(&mut stream)?;
    if head.is_empty() {
        return Err(AudioError::EmptyFile);
    }
    let mut format = signature::recognise(&head);
    if signature::may_be_junk(format) && stream.is_seekable() {
        let start = stream.pos();
        let mut longer = Vec::new();
        (&mut stream).take(LONG_HEAD as u64).read_to_end(&mut longer)?;
        stream.seek(SeekFrom::Start(start))?;
        format = signature::recognise(&longer);
    }
    let Some(&Format { name, kind }) = format else {
        return Err(unknown_format(&head));
    };
    // The reader supports two channel mapping families, and finds no track with any other.
    if let Some(&family) = head.get(46).filter(|&&family| family > 1 && head[28..].starts_with(b"OpusHead")) {
        return Err(AudioError::unknown_codec(format!("Opus with channel mapping family {family}")));
    }
    let options = FormatOptions::default();
    let mut is_truncated = false;
    let reader: Result<Box<dyn FormatReader>, SymphoniaError> = match kind {
        Kind::Wave => match mpeg_in_wave::wave_header(&head) {
            Some(WaveHeader { tag: MPEG_LAYER_3 | MPEG_LAYERS_1_2, data: Some((start, size)) }) => {
                let data;
                (data, is_truncated) = mpeg_in_wave::data(stream, start, size)?;
                MpaReader::try_new(data, options).map(boxed)
            }
            Some(WaveHeader { tag, .. }) if !WAVE_FORMATS.contains(&tag) => {
                let codec = wave_codec(tag).map_or_else(|| format!("format {tag:#06x}"), ToString::to_string);
                return Err(AudioError::unknown_codec(format!("{name} with {codec}")));
            }
            _ => WavReader::try_new(stream, options).map(boxed),
        },
        Kind::Aiff => AiffReader::try_new(stream, options).map(boxed),
        Kind::Flac => FlacReader::try_new(stream, options).map(boxed),
        Kind::Ogg => OggReader::try_new(stream, options).map(boxed),
        Kind::Mp4 => IsoMp4Reader::try_new(stream, options).map(boxed),
        Kind::Matroska => MkvReader::try_new(stream, options).map(boxed),
        Kind::Caf => CafReader::try_new(stream, options).map(boxed),
        Kind::Mpeg => MpaReader::try_new(stream, options).map(boxed),
        Kind::Adts => AdtsReader::try_new(stream, options).map(boxed),
        Kind::Au => Ok(boxed(AuReader::open(stream)?)),
        Kind::Unsupported => return Err(AudioError::unknown_codec(name)),
        Kind::NotAudio => return Err(AudioError::NotAudio { what: name }),
    };
    let format = reader.map_err(|error| match error {
        SymphoniaError::Unsupported(_) if kind == Kind::Caf => {
            AudioError::unknown_codec(format!("{name} of this kind"))
        }
        error => AudioError::unknown_format(format!("the header of {name} is damaged: {}", reasons::of_header(&error))),
    })?;
    Ok(Opened { name, format, is_truncated })
}

/// The error for a file that begins with `head`.
pub(super) fn unknown_format(head: &[u8]) -> AudioError {
    AudioError::unknown_format(format!("it begins with {}, unlike any known format", signature::describe(head)))
}

/// WAV format tags that symphonia's reader supports.
const WAVE_FORMATS: [u16; 6] = [1, 2, 3, 6, 7, 0x11];
const MPEG_LAYERS_1_2: u16 = 0x50;
const MPEG_LAYER_3: u16 = 0x55;

/// The common name of the codec with a format tag that is not supported.
fn wave_codec(tag: u16) -> Option<&'static str> {
    Some(match tag {
        0x08 | 0x2001 => "DTS",
        0x31 => "GSM 6.10",
        0x40 | 0x45 | 0x64 => "G.726 ADPCM",
        0x65 | 0x28f => "G.722 ADPCM",
        0xff | 0x1600..=0x1610 | 0xa106 => "AAC",
        0x92 | 0x2000 => "Dolby Digital (AC-3)",
        0x160..=0x163 => "Windows Media Audio",
        0x270 => "ATRAC3",
        0x674f..=0x6771 => "Vorbis",
        0x5756 => "WavPack",
        0xf1ac => "FLAC",
        _ => return None,
    })
}

fn boxed(reader: impl FormatReader + 'static) -> Box<dyn FormatReader> {
    Box::new(reader)
}

/// The first bytes after ID3v2 tags, which are skipped; `stream` is left at the first of them.
fn head(stream: &mut MediaSourceStream<'static>) -> Result<Vec<u8>> {
    loop {
        let mut head = vec![0; HEAD];
        let start = stream.pos();
        let mut length = 0;
        while length < HEAD {
            match stream.read(&mut head[length..])? {
                0 => break,
                read => length += read,
            }
        }
        head.truncate(length);
        stream.seek_buffered(start);
        match id3v2::length(&head) {
            Some(tag) => match stream.ignore_bytes(tag) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(head),
                Err(error) => return Err(error.into()),
            },
            None => return Ok(head),
        }
    }
}
