//! The layout of a file: the pieces of it that are presented to the reader, and findings about it. The types are
//! independent of any format, so that the files about formats can share them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::media::{Media, Piece};

/// The layout of a file, which is determined before the reader opens it.
#[derive(Debug, Default)]
pub(in crate::decode) struct Layout {
    /// The pieces presented to the reader; `None` for a pipe.
    pub(super) pieces: Option<Vec<Piece>>,
    /// The number of samples per channel, from a header that the reader does not see.
    pub(in crate::decode) frames: Option<u64>,
    /// The name of the container, if the reader sees another one.
    pub(in crate::decode) container: Option<&'static str>,
    /// Whether the file ends before the size that it states.
    pub(in crate::decode) is_truncated: bool,
    /// The part that a truncated file lacks and without which nothing of it can be decoded.
    pub(in crate::decode) lacks: Option<&'static str>,
    /// Notes about guesses.
    pub(in crate::decode) notes: Vec<String>,
    /// The gaps of other data between the frames of a stream.
    pub(in crate::decode) gaps: Vec<Gap>,
    /// The number of frames after the end that the tag of an MP3 file states.
    pub(in crate::decode) surplus_frames: Option<u64>,
    /// The name of the codec, if the stream cannot be decoded although a decoder accepts it.
    pub(in crate::decode) unsupported: Option<String>,
}

/// A gap of other data between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Gap {
    /// The number of packets before the gap, including those of silence.
    pub(in crate::decode) packet: u64,
    /// The number of samples before the gap, including silence.
    pub(in crate::decode) sample: u64,
    /// The length in bytes.
    pub(in crate::decode) bytes: u64,
    /// Whether silence of the missing length replaces the gap.
    pub(in crate::decode) filled: bool,
}

impl Layout {
    /// The layout of a file that holds a codec that is not supported.
    pub(super) fn unsupported(name: String) -> Self {
        Layout { unsupported: Some(name), ..Layout::default() }
    }

    /// The pieces of `file` in this layout, which must come from the same file.
    pub(in crate::decode) fn media(&self, file: File) -> Media {
        Media::new(file, self.pieces.clone())
    }
}

/// The bytes of `file` from `start`: `count`, or fewer at the end.
pub(super) fn bytes_at(file: &mut (impl Read + Seek), start: u64, count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count.min(1 << 16));
    file.seek(SeekFrom::Start(start))?;
    file.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
