//! The layout of a file, chosen by its first bytes: the pieces presented to the reader, and findings on the way.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::media::{Media, Piece};
use super::{adts, aiff, caf, flac_head, frames, mpeg, riff, tags};

/// The layout of a file, determined before the reader opens it.
#[derive(Debug, Default)]
pub(in crate::decode) struct Layout {
    /// The pieces presented to the reader; `None` for a pipe.
    pub(super) pieces: Option<Vec<Piece>>,
    /// Samples per channel, from a header that the reader does not see.
    pub(in crate::decode) frames: Option<u64>,
    /// The container's name, if the reader is presented with another container.
    pub(in crate::decode) container: Option<&'static str>,
    /// The file ends before the size that it states.
    pub(in crate::decode) cut_off: bool,
    /// What a truncated file lacks without which nothing of it can be decoded.
    pub(in crate::decode) lacks: Option<&'static str>,
    /// Notes about guesses.
    pub(in crate::decode) notes: Vec<String>,
    /// Gaps of foreign data between the frames of a stream.
    pub(in crate::decode) holes: Vec<Hole>,
    /// Frames behind the end that the tag of an MP3 states.
    pub(in crate::decode) behind: Option<u64>,
    /// The reason why the stream cannot be decoded, even if a decoder accepts it.
    pub(in crate::decode) refused: Option<String>,
}

/// Foreign data between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Hole {
    /// Packets before the hole, including those of silence.
    pub(in crate::decode) packet: u64,
    /// Samples before the hole, including silence.
    pub(in crate::decode) sample: u64,
    /// Length in bytes.
    pub(in crate::decode) bytes: u64,
    /// Whether silence of the missing length replaces it.
    pub(in crate::decode) filled: bool,
}

impl Layout {
    /// Determines the layout of `file`, which is at its start. A pipe is left untouched.
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
            Some(b"caff") => caf::layout(file, start, end),
            Some(b"fLaC") => {
                let end = tags::before_tags(file, start, end)?;
                flac_head::layout(file, start, end).map(Some)
            }
            Some([0xff, second, ..]) if second & 0xf6 == 0xf0 => frames::layout::<adts::Header>(file, start, end),
            Some([0xff, second, ..]) if second & 0xe0 == 0xe0 => frames::layout::<mpeg::Header>(file, start, end),
            // Junk before a stream, such as from an interrupted download.
            Some([0, 0, 0, 0]) if mark == [0; 16] => match frames::layout::<mpeg::Header>(file, start, end)? {
                None => frames::layout::<adts::Header>(file, start, end),
                found => Ok(found),
            },
            _ => Ok(None),
        }
    }

    /// `file` in this layout; the layout must come from the same file.
    pub(in crate::decode) fn media(&self, file: File) -> Media {
        Media::new(file, self.pieces.clone())
    }
}

/// Up to `count` bytes of `file` from `start`, fewer at the end.
pub(super) fn bytes_at(file: &mut (impl Read + Seek), start: u64, count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count.min(1 << 16));
    file.seek(SeekFrom::Start(start))?;
    file.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
