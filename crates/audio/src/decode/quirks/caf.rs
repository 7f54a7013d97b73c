//! CAF files that end within their samples: symphonia 0.6.1 reads all chunks first, and therefore rejects them.

use std::fs::File;

use super::layout::{Layout, bytes_at};
use super::media::Piece;

/// The layout of a file that ends within its `data` chunk: the chunk with the size that is left of it. `None` for other
/// files (Apple Core Audio Format Specification 1.0).
pub(super) fn layout(file: &mut File, start: u64, end: u64) -> std::io::Result<Option<Layout>> {
    /// Real files have a handful of chunks.
    const MOST: u32 = 1000;
    /// The file's own header, and that of a chunk: a name and a 64-bit size.
    const FILE_HEADER: u64 = 8;
    const CHUNK_HEADER: u64 = 12;
    let mut place = start + FILE_HEADER;
    let (mut packet, mut has_table) = (0, false);
    for _ in 0..MOST {
        let header = bytes_at(file, place, CHUNK_HEADER as usize)?;
        let (Some(name), Some(size)) = (header.get(..4), header.get(4..).and_then(|size| size.first_chunk())) else {
            break;
        };
        let body = place + CHUNK_HEADER;
        // -1 is an unknown size, to the end of the file.
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
                Piece::File { start, length: place + 4 - start },
                Piece::Bytes(left.to_be_bytes().to_vec()),
                Piece::File { start: body, length: left },
            ];
            // Packets of different sizes are found by a table.
            let lacks = (packet == 0 && !has_table).then_some("its table of packets (`pakt`)");
            return Ok(Some(Layout { pieces: Some(pieces), cut_off: true, lacks, ..Layout::default() }));
        }
        match body.checked_add(size).filter(|&next| next < end) {
            Some(next) => place = next,
            None => break,
        }
    }
    Ok(None)
}
