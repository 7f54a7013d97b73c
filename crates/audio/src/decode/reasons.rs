//! Errors of readers and decoders, worded for users.

use symphonia::core::errors::Error as SymphoniaError;

/// The reason why a reader rejected the header of a file.
pub(super) fn of_reader(error: &SymphoniaError) -> String {
    match error {
        SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file ends within it".to_string()
        }
        SymphoniaError::IoError(error) => error.to_string(),
        SymphoniaError::Unsupported(_) => "it uses an unsupported feature".to_string(),
        _ => "its fields are inconsistent".to_string(),
    }
}

/// The reason why the next packet cannot be read: its offset is unknown.
pub(super) const NO_PACKET: &str = "the data that follows is not part of the stream";

/// The reason why a packet cannot be decoded.
pub(super) fn of_packet(codec: &str) -> String {
    format!("a packet cannot be decoded as {codec}")
}
