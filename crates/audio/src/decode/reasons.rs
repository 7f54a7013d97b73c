//! What goes wrong in a reader or decoder, in the words of who has the file.

use symphonia::core::errors::Error as SymphoniaError;

/// Why a reader did not take the header of a file.
pub(super) fn of_reader(error: &SymphoniaError) -> String {
    match error {
        SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file ends within it".to_string()
        }
        SymphoniaError::IoError(error) => error.to_string(),
        SymphoniaError::Unsupported(_) => "it states a kind that is not supported".to_string(),
        _ => "it contradicts itself".to_string(),
    }
}

/// Why the next packet cannot be read, of which nothing tells where it would be.
pub(super) const NO_PACKET: &str = "what follows is not a part of the stream";

/// Why a packet cannot be decoded.
pub(super) fn of_packet(codec: &str) -> String {
    format!("a packet cannot be decoded as {codec}")
}
