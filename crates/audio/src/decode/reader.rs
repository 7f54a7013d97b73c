//! The reader and decoder for a file, chosen by its first bytes and header. Nothing is probed: a header further inside
//! belongs to other data.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::codecs::audio::well_known::{
    self, CODEC_ID_AAC, CODEC_ID_ADPCM_IMA_QT, CODEC_ID_OPUS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW, CODEC_ID_VORBIS,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes, SeekBuffered};
use symphonia::default::formats::{
    AdtsReader, AiffReader, CafReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader,
};

use super::au::AuReader;
use super::opus::{self, Opus};
use super::reasons;
use super::section::{self, Section, WaveHeader};
use super::vorbis::Vorbis;
use crate::signature::{self, Format, HEAD, Kind, LONG_HEAD};
use crate::{AudioError, Result};

/// A file whose header has been read.
pub(super) struct Opened {
    /// The name of the format.
    pub(super) name: &'static str,
    pub(super) format: Box<dyn FormatReader>,
    /// The file is known to be truncated.
    pub(super) cut_off: bool,
}

/// Opens the reader for the format of `stream`.
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
    // The reader supports two channel mapping families, and finds no track with others.
    if let Some(&family) = head.get(46).filter(|&&family| family > 1 && head[28..].starts_with(b"OpusHead")) {
        return Err(AudioError::UnknownCodec { reason: format!("Opus with channel mapping family {family}") });
    }
    let options = FormatOptions::default();
    let mut cut_off = false;
    let reader: Result<Box<dyn FormatReader>, SymphoniaError> = match kind {
        Kind::Wave => match section::wave_header(&head) {
            Some(WaveHeader { tag: MPEG_LAYER_3 | MPEG_LAYERS_1_2, data: Some((start, size)) }) => {
                let section;
                (section, cut_off) = data_of(stream, start, size)?;
                MpaReader::try_new(section, options).map(boxed)
            }
            Some(WaveHeader { tag, .. }) if !WAVE_FORMATS.contains(&tag) => {
                let codec = wave_codec(tag).map_or_else(|| format!("format {tag:#06x}"), ToString::to_string);
                return Err(AudioError::UnknownCodec { reason: format!("{name} with {codec}") });
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
        Kind::Unread => return Err(AudioError::UnknownCodec { reason: name.to_string() }),
        Kind::NotAudio => return Err(AudioError::NotAudio { what: name }),
    };
    let format = reader.map_err(|error| match error {
        SymphoniaError::Unsupported(_) if kind == Kind::Caf => {
            AudioError::UnknownCodec { reason: format!("{name} of this kind") }
        }
        error => AudioError::UnknownFormat {
            reason: format!("the header of {name} is damaged: {}", reasons::of_reader(&error)),
        },
    })?;
    Ok(Opened { name, format, cut_off })
}

/// The error for a file that begins with `head`.
pub(super) fn unknown_format(head: &[u8]) -> AudioError {
    let reason = format!("it begins with {}, which no known format does", signature::describe(head));
    AudioError::UnknownFormat { reason }
}

/// WAV format tags that symphonia's reader supports.
const WAVE_FORMATS: [u16; 6] = [1, 2, 3, 6, 7, 0x11];
const MPEG_LAYERS_1_2: u16 = 0x50;
const MPEG_LAYER_3: u16 = 0x55;

/// Codec names of other format tags.
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

/// The `data` chunk of a WAV file as a stream, and whether the file ends within it.
fn data_of(
    mut stream: MediaSourceStream<'static>,
    start: u64,
    size: u32,
) -> Result<(MediaSourceStream<'static>, bool)> {
    stream.ignore_bytes(start)?;
    let left = stream.byte_len().map(|length| length.saturating_sub(stream.pos()));
    // Programs that write to a pipe do not know the size.
    let stated = Some(u64::from(size)).filter(|&size| size != 0 && size != u64::from(u32::MAX));
    let cut_off = stated.zip(left).is_some_and(|(stated, left)| stated > left);
    let length = stated.into_iter().chain(left).min().unwrap_or(u64::from(u32::MAX));
    Ok((MediaSourceStream::new(Box::new(Section::new(stream, length)), Default::default()), cut_off))
}

fn boxed(reader: impl FormatReader + 'static) -> Box<dyn FormatReader> {
    Box::new(reader)
}

/// The first bytes after ID3v2 tags. `stream` is left there.
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
        match signature::id3v2_length(&head) {
            Some(tag) => match stream.ignore_bytes(tag) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(head),
                Err(error) => return Err(error.into()),
            },
            None => return Ok(head),
        }
    }
}

/// A decoder for `parameters`, and the samples that the codec trims from the start.
pub(super) fn decoder(parameters: &AudioCodecParameters) -> Result<(Box<dyn AudioDecoder>, u64)> {
    let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    let unknown = |reason: String| AudioError::UnknownCodec { reason };
    match parameters.codec {
        CODEC_ID_OPUS => {
            let head = opus::Head::read(parameters.extra_data.as_deref(), channels).map_err(unknown)?;
            let pre_skip = head.pre_skip.into();
            Ok((Box::new(Opus::new(parameters, head).map_err(unknown)?), pre_skip))
        }
        CODEC_ID_VORBIS if channels > 2 => Ok((Box::new(Vorbis::new(parameters).map_err(unknown)?), 0)),
        CODEC_ID_AAC if channels > 2 => Err(unknown(format!("AAC with {channels} channels"))),
        // symphonia takes the predictor from each block's header, which has fewer bits than the running one.
        CODEC_ID_ADPCM_IMA_QT => Err(unknown("IMA4 ADPCM".to_string())),
        codec => {
            let mut parameters = parameters.clone();
            if matches!(codec, CODEC_ID_PCM_ALAW | CODEC_ID_PCM_MULAW) {
                parameters.with_bits_per_sample(16).with_bits_per_coded_sample(16);
            }
            make(&parameters).map(|decoder| (decoder, 0))
        }
    }
}

/// A big-endian version of the PCM decoder for `parameters`.
pub(super) fn big_endian(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>> {
    let mut parameters = parameters.clone();
    parameters.codec = match parameters.codec {
        well_known::CODEC_ID_PCM_S24LE => well_known::CODEC_ID_PCM_S24BE,
        well_known::CODEC_ID_PCM_S32LE => well_known::CODEC_ID_PCM_S32BE,
        well_known::CODEC_ID_PCM_F32LE => well_known::CODEC_ID_PCM_F32BE,
        well_known::CODEC_ID_PCM_F64LE => well_known::CODEC_ID_PCM_F64BE,
        codec => codec,
    };
    make(&parameters)
}

/// A decoder from symphonia.
fn make(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>> {
    let codecs = symphonia::default::get_codecs();
    let options = AudioDecoderOptions::default().verify(true);
    codecs.make_audio_decoder(parameters, &options).map_err(|_| {
        let known = || codecs.get_audio_decoder(parameters.codec).map(|codec| codec.codec.info.long_name);
        let name = codec_name(parameters.codec).map(ToString::to_string);
        let name = name.or_else(|| known().map(|name| format!("{name} of this kind")));
        AudioError::UnknownCodec { reason: name.unwrap_or_else(|| "an unknown codec".to_string()) }
    })
}

/// The name of a codec that is not supported.
fn codec_name(codec: AudioCodecId) -> Option<&'static str> {
    use well_known::*;
    const NAMES: [(AudioCodecId, &str); 14] = [
        (CODEC_ID_AC3, "Dolby Digital (AC-3)"),
        (CODEC_ID_EAC3, "Dolby Digital Plus (E-AC-3)"),
        (CODEC_ID_AC4, "Dolby AC-4"),
        (CODEC_ID_DCA, "DTS"),
        (CODEC_ID_TRUEHD, "Dolby TrueHD"),
        (CODEC_ID_MUSEPACK, "Musepack"),
        (CODEC_ID_SPEEX, "Speex"),
        (CODEC_ID_WMA, "Windows Media Audio"),
        (CODEC_ID_TTA, "True Audio (TTA)"),
        (CODEC_ID_WAVPACK, "WavPack"),
        (CODEC_ID_COOK, "RealAudio (Cook)"),
        (CODEC_ID_ATRAC3, "ATRAC3"),
        (CODEC_ID_ADPCM_G722, "G.722 ADPCM"),
        (CODEC_ID_ADPCM_G726, "G.726 ADPCM"),
    ];
    NAMES.into_iter().find(|&(known, _)| known == codec).map(|(_, name)| name)
}

/// The command that converts `path` to FLAC.
pub(super) fn command(path: &std::path::Path) -> String {
    let flac = path.with_extension("flac");
    let flac = if flac == path { path.with_extension("converted.flac") } else { flac };
    format!("ffmpeg -i {} -map 0:a:0 {}", quoted(path), quoted(&flac))
}

/// A file name quoted for a shell, with `file:` where ffmpeg would see an option or a protocol.
fn quoted(path: &std::path::Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    let prefix = if bytes.starts_with(b"-") || bytes.contains(&b':') { "file:" } else { "" };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    match path.to_str() {
        Some(name) if !name.is_empty() && name.chars().all(is_plain) => format!("{prefix}{name}"),
        Some(name) if !name.chars().any(char::is_control) => format!("'{prefix}{}'", name.replace('\'', r"'\''")),
        // Bytes that are not text, in the notation of bash and zsh.
        _ => format!("$'{prefix}{}'", bytes.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        for (path, expected) in [
            ("a/b.wma", "ffmpeg -i a/b.wma -map 0:a:0 a/b.flac"),
            ("it's mine.ape", r"ffmpeg -i 'it'\''s mine.ape' -map 0:a:0 'it'\''s mine.flac'"),
            ("$(rm x).tta", "ffmpeg -i '$(rm x).tta' -map 0:a:0 '$(rm x).flac'"),
            ("-y.wma", "ffmpeg -i file:-y.wma -map 0:a:0 file:-y.flac"),
            ("http://x.wma", "ffmpeg -i file:http://x.wma -map 0:a:0 file:http://x.flac"),
            ("odd.flac", "ffmpeg -i odd.flac -map 0:a:0 odd.converted.flac"),
        ] {
            assert_eq!(command(Path::new(path)), expected);
        }
        assert_eq!(quoted(Path::new("a\nb's.wma")), r"$'a\nb\'s.wma'");
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let name = std::ffi::OsStr::from_bytes(b"-caf\xe9.wma");
            assert_eq!(quoted(Path::new(name)), r"$'file:-caf\xe9.wma'");
        }
    }
}
