//! Which pieces of a file a reader is to see, decided by its first bytes, and what was found on the way.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::media::{Media, Piece};
use super::{adts, aiff, flac_head, frames, mpeg, riff, tags};

/// How a file is laid out, read before its reader sees it.
#[derive(Debug, Default)]
pub(in crate::decode) struct Layout {
    /// `None` for what is not a file.
    pub(super) pieces: Option<Vec<Piece>>,
    /// Samples of each channel, where a header states them that the reader does not see.
    pub(in crate::decode) frames: Option<u64>,
    /// The container's name, where the reader sees another.
    pub(in crate::decode) container: Option<&'static str>,
    /// The file ends before what it announces.
    pub(in crate::decode) cut_off: bool,
    /// What was guessed.
    pub(in crate::decode) notes: Vec<String>,
    /// What is between the frames of a stream and belongs to none.
    pub(in crate::decode) holes: Vec<Hole>,
    /// Why the stream cannot be decoded, although a decoder may take it.
    pub(in crate::decode) refused: Option<String>,
}

/// Bytes between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Hole {
    /// Packets before it, with those of silence.
    pub(in crate::decode) packet: u64,
    /// Samples before it, with those of silence.
    pub(in crate::decode) sample: u64,
    /// How many bytes.
    pub(in crate::decode) bytes: u64,
    /// Whether silence of the right length stands in its place.
    pub(in crate::decode) filled: bool,
}

impl Layout {
    /// Looks at `file`, which is at its start and stays as it is if it is a pipe.
    pub(in crate::decode) fn of(file: &mut File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Layout::default());
        }
        let length = metadata.len();
        let end = tags::mp4_length(file, length)?;
        let start = tags::behind_id3v2(file, end)?;
        let layout = match end == length {
            true => Layout::of_content(file, start, end)?,
            false => None,
        };
        let mut layout = layout.unwrap_or_default();
        layout.pieces.get_or_insert_with(|| vec![Piece::File { start, length: end - start }]);
        file.rewind()?;
        Ok(layout)
    }

    fn of_content(file: &mut File, start: u64, end: u64) -> std::io::Result<Option<Self>> {
        let mut mark = Vec::with_capacity(16);
        file.seek(SeekFrom::Start(start))?;
        (&mut *file).take(16).read_to_end(&mut mark)?;
        let form = mark.get(8..12);
        match mark.first_chunk() {
            Some(b"RIFF" | b"RF64" | b"BW64") if form == Some(b"WAVE") => {
                riff::layout(file, start, end, riff::Kind::Riff)
            }
            Some(b"riff") if mark == riff::W64_RIFF => riff::layout(file, start, end, riff::Kind::W64),
            Some(b"FORM") if form == Some(b"AIFF") => aiff::layout(file, start, end, false),
            Some(b"FORM") if form == Some(b"AIFC") => aiff::layout(file, start, end, true),
            Some(b"fLaC") => {
                let end = tags::before_tags(file, start, end)?;
                flac_head::layout(file, start, end).map(Some)
            }
            Some([0xff, second, ..]) if second & 0xf6 == 0xf0 => frames::layout::<adts::Header>(file, start, end),
            Some([0xff, second, ..]) if second & 0xe0 == 0xe0 => frames::layout::<mpeg::Header>(file, start, end),
            // Junk in front of a stream, such as what an interrupted download left.
            Some([0, 0, 0, 0]) if mark == [0; 16] => match frames::layout::<mpeg::Header>(file, start, end)? {
                None => frames::layout::<adts::Header>(file, start, end),
                found => Ok(found),
            },
            _ => Ok(None),
        }
    }

    /// `file` as this says, of which this was made.
    pub(in crate::decode) fn media(&self, file: File) -> Media {
        Media::new(file, self.pieces.clone())
    }
}

/// Bytes of `file` from `start` on, as many as there are of `count`.
pub(super) fn bytes_at(file: &mut (impl Read + Seek), start: u64, count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count.min(1 << 16));
    file.seek(SeekFrom::Start(start))?;
    file.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
