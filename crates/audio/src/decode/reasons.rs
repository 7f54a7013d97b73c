//! Errors of symphonia's readers and decoders in the words of this crate's messages.

use symphonia::core::errors::Error as SymphoniaError;

/// The reason for which a reader rejected the header of a file.
pub(super) fn of_header(error: &SymphoniaError) -> String {
    match error {
        SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file ends within it".to_string()
        }
        SymphoniaError::IoError(error) => error.to_string(),
        SymphoniaError::Unsupported(_) => "it uses an unsupported feature".to_string(),
        _ => "its fields are inconsistent".to_string(),
    }
}

/// The reason for which the next packet cannot be read. Its offset is unknown.
pub(super) const NO_PACKET: &str = "the data that follows is not part of the stream";

/// The reason for which a packet cannot be decoded.
pub(super) fn of_packet(codec: &str) -> String {
    format!("a packet cannot be decoded as {codec}")
}
