//! A file as it is presented to a reader: pieces of it, with some bytes replaced. The readers of symphonia 0.6.1 take
//! headers literally and reject files for fields that decoding does not need, as in [format chunks of
//! WAV](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/wave/chunks.rs#L62-L77); the files
//! about formats say which.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// A piece of the presented file.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Literal bytes.
    Bytes(Vec<u8>),
    /// Bytes that are repeated up to `length`.
    Repeated { bytes: Vec<u8>, length: u64 },
    /// A range of the file. If the file is shorter, the reader sees the end of the file there.
    File { start: u64, length: u64 },
}

impl Piece {
    /// The length in bytes.
    fn len(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::Repeated { length, .. } | Piece::File { length, .. } => *length,
        }
    }
}

/// A file in pieces, or an unchanged pipe.
pub(in crate::decode) struct Media {
    file: File,
    /// The pieces of a file; `None` for a pipe.
    pieces: Option<Pieces>,
    is_seekable: bool,
}

/// The pieces of a file, and the position in them.
struct Pieces {
    /// The pieces, each with the offset of its first byte.
    pieces: Vec<(u64, Piece)>,
    length: u64,
    position: u64,
}

impl Media {
    /// The `pieces` of `file`, or the unchanged stream without them.
    pub(super) fn new(file: File, pieces: Option<Vec<Piece>>) -> Self {
        let is_seekable = pieces.is_some();
        let pieces = pieces.map(|pieces| {
            let mut length = 0;
            let with_start = |piece: Piece| {
                let start = length;
                length += piece.len();
                (start, piece)
            };
            let pieces = pieces.into_iter().map(with_start).collect();
            Pieces { pieces, length, position: 0 }
        });
        Media { file, pieces, is_seekable }
    }

    /// The same media as a stream that cannot seek.
    pub(in crate::decode) fn sequential(self) -> Self {
        Media { is_seekable: false, ..self }
    }
}

impl Read for Media {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let Some(all) = &mut self.pieces else { return self.file.read(into) };
        let after = all.pieces.partition_point(|(start, _)| *start <= all.position);
        // Empty pieces share their offset with the next one; the last of them is the one to read.
        let Some((start, piece)) = after.checked_sub(1).and_then(|index| all.pieces.get(index)) else { return Ok(0) };
        let offset = all.position - start;
        let left = usize::try_from(piece.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = into.len().min(left);
        let read = match piece {
            Piece::Bytes(bytes) => {
                let from = offset as usize;
                into[..count].copy_from_slice(&bytes[from..from + count]);
                count
            }
            Piece::Repeated { bytes, .. } => {
                let cycle = bytes.iter().cycle().skip((offset % bytes.len().max(1) as u64) as usize);
                into[..count].iter_mut().zip(cycle).for_each(|(to, &byte)| *to = byte);
                count
            }
            Piece::File { start, .. } => {
                self.file.seek(SeekFrom::Start(start + offset))?;
                self.file.read(&mut into[..count])?
            }
        };
        all.position += read as u64;
        Ok(read)
    }
}

impl Seek for Media {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let Some(all) = &mut self.pieces else { return self.file.seek(to) };
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => all.position.checked_add_signed(offset),
            SeekFrom::End(offset) => all.length.checked_add_signed(offset),
        };
        all.position = position.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(all.position)
    }
}

impl MediaSource for Media {
    fn is_seekable(&self) -> bool {
        self.is_seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.pieces.as_ref().filter(|_| self.is_seekable).map(|pieces| pieces.length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn pieces_are_read_as_one_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let pieces = vec![
            Piece::Bytes(b"ab".to_vec()),
            Piece::Bytes(Vec::new()),
            Piece::File { start: 7, length: 2 },
            Piece::File { start: 3, length: 0 },
            Piece::Repeated { bytes: b"xyz".to_vec(), length: 4 },
            Piece::Bytes(b"c".to_vec()),
            Piece::File { start: 0, length: 4 },
        ];
        let mut media = Media::new(file, Some(pieces));
        let expected = b"ab78xyzxc0123";
        let mut all = Vec::new();
        media.read_to_end(&mut all).unwrap();
        assert_eq!(all, expected);
        assert_eq!(media.byte_len(), Some(13));
        for start in 0..14 {
            let mut rest = Vec::new();
            assert_eq!(media.seek(SeekFrom::Start(start)).unwrap(), start);
            media.read_to_end(&mut rest).unwrap();
            assert_eq!(rest, &expected[start as usize..]);
        }
        assert_eq!(media.seek(SeekFrom::End(-1)).unwrap(), 12);
        assert!(media.seek(SeekFrom::Current(-13)).is_err());
        assert_eq!(media.sequential().byte_len(), None);
    }

    #[test]
    fn a_piece_beyond_the_file_ends_with_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123").unwrap();
        let mut media = Media::new(file, Some(vec![Piece::File { start: 2, length: 1000 }]));
        let mut all = Vec::new();
        media.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"23");
        assert_eq!(media.byte_len(), Some(1000));
    }
}
