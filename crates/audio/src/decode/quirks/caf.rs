//! CAF files that end within their samples. symphonia-format-caf 0.6.1
//! [reads all chunks](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-caf/src/demuxer.rs#L458-L459)
//! before the samples, and therefore rejects these files.

use std::fs::File;

use super::layout::{Layout, bytes_at};
use super::media::Piece;

/// The layout of a file that ends within its `data` chunk (Apple Core Audio Format Specification 1.0): the chunk with
/// the size that is left of it. `None` for other files.
pub(super) fn layout(file: &mut File, start: u64, end: u64) -> std::io::Result<Option<Layout>> {
    /// The number of chunks after which the search gives up: real files have a handful.
    const MAX_CHUNKS: u32 = 1000;
    const FILE_HEADER: u64 = 8;
    /// The length of a chunk's header: a name and a 64-bit size.
    const CHUNK_HEADER: u64 = 12;
    let mut offset = start + FILE_HEADER;
    let (mut packet, mut has_table) = (0, false);
    for _ in 0..MAX_CHUNKS {
        let header = bytes_at(file, offset, CHUNK_HEADER as usize)?;
        let (Some(name), Some(size)) = (header.get(..4), header.get(4..).and_then(|size| size.first_chunk())) else {
            break;
        };
        let body = offset + CHUNK_HEADER;
        // -1 is an unknown size: the chunk extends to the end of the file.
        let Ok(size) = u64::try_from(i64::from_be_bytes(*size)) else { break };
        if name == b"desc" {
            let bytes = bytes_at(file, body + 16, 4)?;
            packet = bytes.first_chunk().map_or(0, |bytes| u64::from(u32::from_be_bytes(*bytes)));
        }
        has_table |= name == b"pakt";
        if name == b"data" && size > end - body.min(end) {
            // An edit count precedes the samples.
            let left = (end - body.min(end)).saturating_sub(4);
            let left = 4 + left - if packet > 0 { left % packet } else { 0 };
            let pieces = vec![
                Piece::File { start, length: offset + 4 - start },
                Piece::Bytes(left.to_be_bytes().to_vec()),
                Piece::File { start: body, length: left },
            ];
            // Packets of different sizes are found by a table.
            let lacks = (packet == 0 && !has_table).then_some("its packet table (`pakt`)");
            return Ok(Some(Layout { pieces: Some(pieces), is_truncated: true, lacks, ..Layout::default() }));
        }
        match body.checked_add(size).filter(|&next| next < end) {
            Some(next) => offset = next,
            None => break,
        }
    }
    Ok(None)
}
