//! What goes wrong in a reader or decoder, in the words of who has the file.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::errors::Error as SymphoniaError;

/// Why no reader took a file.
pub(super) fn of_reader(error: &SymphoniaError) -> String {
    match error {
        SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it ends within its header".to_string()
        }
        SymphoniaError::IoError(error) => error.to_string(),
        SymphoniaError::Unsupported(reason) if reason.starts_with("core") => "its first bytes are of none".to_string(),
        SymphoniaError::Unsupported(_) => "its header states a kind that is not supported".to_string(),
        _ => "its header does not make sense".to_string(),
    }
}

/// Why no decoder took a stream.
pub(super) fn of_codec(parameters: &AudioCodecParameters) -> String {
    let channels = parameters.channels.as_ref().map_or(0, |channels| channels.count());
    match parameters.codec {
        CODEC_ID_AAC if channels > 2 => format!("AAC with {channels} channels"),
        CODEC_ID_AAC => "AAC of another kind than AAC-LC, or with a configuration that does not make sense".to_string(),
        _ => "its codec is not supported, or its description does not make sense".to_string(),
    }
}

/// Why the next packet cannot be read, of which nothing tells where it would be.
pub(super) const NO_PACKET: &str = "what follows is not a part of the stream";

/// Why a packet cannot be decoded.
pub(super) fn of_packet(codec: &str) -> String {
    format!("a packet cannot be decoded as {codec}")
}
