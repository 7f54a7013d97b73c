//! The choice of a layout by the first bytes of a file.

use std::fs::File;
use std::io::Seek;

use super::chunks::{ChunkFormat, W64_RIFF};
use super::frames::{self, adts, mpeg};
use super::layout::{Layout, bytes_at};
use super::media::Piece;
use super::{aiff, caf, flac_head, mp4_end, tags, wav};

/// Determines the layout of `file`, and rewinds it. A pipe is left untouched.
pub(in crate::decode) fn layout_of(file: &mut File) -> std::io::Result<Layout> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Layout::default());
    }
    let length = metadata.len();
    let end = mp4_end::stated_length(file, length)?;
    let start = tags::after_id3v2(file, end)?;
    let layout = match end == length {
        true => layout_between(file, start, end)?,
        false => None,
    };
    let mut layout = layout.unwrap_or_default();
    layout.pieces.get_or_insert_with(|| vec![Piece::File { start, length: end - start }]);
    file.rewind()?;
    Ok(layout)
}

/// The layout of a file without its tags; `None` if the reader can be presented with the file as it is.
fn layout_between(file: &mut File, start: u64, end: u64) -> std::io::Result<Option<Layout>> {
    let mark = bytes_at(file, start, 16)?;
    let form = mark.get(8..12);
    match mark.first_chunk() {
        Some(b"RIFF" | b"RF64" | b"BW64") if form == Some(b"WAVE") => wav::layout(file, start, end, ChunkFormat::Riff),
        Some(b"riff") if mark == W64_RIFF => wav::layout(file, start, end, ChunkFormat::W64),
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
