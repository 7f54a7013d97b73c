//! The reader and the decoder of a file, chosen by its first bytes and by what its header says. Nothing is probed: a header
//! that is found further inside belongs to something else.

use symphonia::core::codecs::audio::{
    AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known,
};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, ReadBytes, SeekBuffered};
use symphonia::default::formats::{
    AdtsReader, AiffReader, CafReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader,
};

use crate::signature::{self, Format, HEAD, Kind};
use crate::{AudioError, Result};

/// A reader of what `stream` is.
pub(super) fn open(mut stream: MediaSourceStream<'static>) -> Result<(&'static Format, Box<dyn FormatReader>)> {
    let head = head(&mut stream)?;
    if head.is_empty() {
        return Err(AudioError::EmptyFile);
    }
    let Some(format) = signature::recognise(&head) else {
        let reason = format!("it begins with {}, which no known format does", signature::describe(&head));
        return Err(AudioError::UnknownFormat { reason });
    };
    let options = FormatOptions::default();
    let reader: Result<Box<dyn FormatReader>, SymphoniaError> = match format.kind {
        Kind::Wave => WavReader::try_new(stream, options).map(boxed),
        Kind::Aiff => AiffReader::try_new(stream, options).map(boxed),
        Kind::Flac => FlacReader::try_new(stream, options).map(boxed),
        Kind::Ogg => OggReader::try_new(stream, options).map(boxed),
        Kind::Mp4 => IsoMp4Reader::try_new(stream, options).map(boxed),
        Kind::Matroska => MkvReader::try_new(stream, options).map(boxed),
        Kind::Caf => CafReader::try_new(stream, options).map(boxed),
        Kind::Mpeg => MpaReader::try_new(stream, options).map(boxed),
        Kind::Adts => AdtsReader::try_new(stream, options).map(boxed),
        Kind::Au | Kind::Unread => return Err(AudioError::UnknownCodec { reason: format.name.to_string() }),
        Kind::NotAudio => return Err(AudioError::NotAudio { what: format.name }),
    };
    let reader = reader.map_err(|error| AudioError::UnknownFormat {
        reason: format!("the header of {} is damaged or incomplete ({error})", format.name),
    })?;
    Ok((format, reader))
}

fn boxed(reader: impl FormatReader + 'static) -> Box<dyn FormatReader> {
    Box::new(reader)
}

/// The first bytes behind ID3v2 tags, where `stream` is left.
fn head(stream: &mut MediaSourceStream<'static>) -> Result<Vec<u8>> {
    loop {
        let mut head = vec![0; HEAD];
        let start = stream.pos();
        let mut length = 0;
        while length < HEAD {
            match stream.read_buf(&mut head[length..]) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error.into()),
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

/// A decoder for `parameters`.
pub(super) fn decoder(parameters: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>> {
    let options = AudioDecoderOptions::default().verify(true);
    let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    let unknown = |reason: String| AudioError::UnknownCodec { reason };
    // symphonia undoes the coupling of more than two channels in the wrong order (Vorbis I, 4.3.5: the last pair
    // first) and returns something else without an error.
    if parameters.codec == well_known::CODEC_ID_VORBIS && channels > 2 {
        return Err(unknown(format!("Vorbis with {channels} channels")));
    }
    if parameters.codec == well_known::CODEC_ID_AAC && channels > 2 {
        return Err(unknown(format!("AAC with {channels} channels")));
    }
    symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &options)
        .map_err(|error| unknown(codec_name(parameters.codec).map_or_else(|| error.to_string(), ToString::to_string)))
}

/// The names of codecs that are not decoded.
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

/// The command that makes a FLAC file of `path`.
pub(super) fn command(path: &std::path::Path) -> String {
    let flac = path.with_extension("flac");
    let flac = if flac == path { path.with_extension("converted.flac") } else { flac };
    format!("ffmpeg -i {} {}", quoted(path), quoted(&flac))
}

/// A file name as a shell takes it, and ffmpeg for a name: not for an option nor a protocol.
fn quoted(path: &std::path::Path) -> String {
    let name = path.to_string_lossy();
    let name = if name.starts_with('-') || name.contains(':') { format!("file:{name}") } else { name.into_owned() };
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:@%,".contains(c);
    if !name.is_empty() && name.chars().all(is_plain) { name } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        for (path, expected) in [
            ("a/b.wma", "ffmpeg -i a/b.wma a/b.flac"),
            ("it's mine.ape", r"ffmpeg -i 'it'\''s mine.ape' 'it'\''s mine.flac'"),
            ("$(rm x).tta", "ffmpeg -i '$(rm x).tta' '$(rm x).flac'"),
            ("-y.wma", "ffmpeg -i file:-y.wma file:-y.flac"),
            ("http://x.wma", "ffmpeg -i file:http://x.wma file:http://x.flac"),
            ("odd.flac", "ffmpeg -i odd.flac odd.converted.flac"),
        ] {
            assert_eq!(command(Path::new(path)), expected);
        }
    }
}
