//! The chunks of WAV, W64 and AIFF. symphonia-format-riff 0.6.1
//! [expects](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/common.rs#L99-L110) every
//! chunk to be padded to an even size, and to end within the size in the file's first header.

use std::fs::File;

use super::layout::bytes_at;

/// The structure of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkFormat {
    /// Four-byte names and little-endian 32-bit sizes (WAV, RF64, BW64).
    Riff,
    /// Four-byte names and big-endian 32-bit sizes (AIFF).
    Iff,
    /// Sixteen-byte GUIDs and 64-bit sizes, which include the chunk's header (Sony Wave64).
    W64,
}

/// The header of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// The name; in W64 the first four bytes of the GUID.
    pub(super) name: [u8; 4],
    /// The offset of the body in the file.
    pub(super) body: u64,
    /// The stated size of the body in bytes.
    pub(super) size: u64,
}

/// The GUID at the start of a W64 file.
pub(super) const W64_RIFF: [u8; 16] = *b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0";
/// The end of the GUID of a W64 chunk, after its four letters.
const W64_TAIL: [u8; 12] = *b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a";

/// Chunk names in WAV files. A known name at an odd offset shows that the padding is missing.
const RIFF_NAMES: [&[u8; 4]; 18] = [
    b"data", b"fmt ", b"fact", b"LIST", b"bext", b"iXML", b"cue ", b"smpl", b"inst", b"JUNK", b"junk", b"PAD ",
    b"PEAK", b"id3 ", b"ID3 ", b"axml", b"acid", b"DISP",
];

/// Chunk names in AIFF files, see [`RIFF_NAMES`].
const IFF_NAMES: [&[u8; 4]; 15] = [
    b"COMM", b"SSND", b"FVER", b"MARK", b"INST", b"APPL", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"COMT", b"ID3 ",
    b"CHAN", b"PEAK", b"MIDI",
];

/// The number of chunks after which a search gives up: real files have a handful.
const MAX_CHUNKS: u32 = 1000;

impl ChunkFormat {
    /// The offset of the first chunk in a file.
    pub(super) fn first_chunk(self) -> u64 {
        match self {
            ChunkFormat::Riff | ChunkFormat::Iff => 12,
            ChunkFormat::W64 => 40,
        }
    }

    /// Reads the header of the chunk at `offset`; `None` if its name is not printable.
    pub(super) fn chunk(self, file: &mut File, offset: u64) -> std::io::Result<Option<Chunk>> {
        let header = bytes_at(file, offset, if self == ChunkFormat::W64 { 24 } else { 8 })?;
        let Some(&name) = header.first_chunk::<4>().filter(|name| name.iter().all(|x| (0x20..0x7f).contains(x))) else {
            return Ok(None);
        };
        let size = match (self, header.get(4..8)) {
            (ChunkFormat::Riff, Some(_)) => Some(u64::from(u32_at(&header, 4))),
            (ChunkFormat::Iff, Some(_)) => Some(u64::from(u32_at(&header, 4).swap_bytes())),
            (ChunkFormat::W64, _) if header.len() == 24 && header[4..16] == W64_TAIL => {
                u64_at(&header, 16).checked_sub(24).filter(|&size| size < 1 << 62)
            }
            _ => None,
        };
        Ok(size.map(|size| Chunk { name, body: offset + header.len() as u64, size }))
    }

    /// The offset of the chunk after `chunk`. Some files lack the padding to even sizes.
    pub(super) fn next(self, file: &mut File, chunk: &Chunk) -> std::io::Result<u64> {
        let end = chunk.body + chunk.size;
        let names: &[&[u8; 4]] = match self {
            ChunkFormat::W64 => return Ok(end.next_multiple_of(8)),
            ChunkFormat::Riff => &RIFF_NAMES,
            ChunkFormat::Iff => &IFF_NAMES,
        };
        let is_padded = chunk.size % 2 == 1 && !self.chunk(file, end)?.is_some_and(|next| names.contains(&&next.name));
        Ok(end + u64::from(is_padded))
    }

    /// Whether `offset` to `end` holds only complete chunks.
    pub(super) fn only_chunks(self, file: &mut File, mut offset: u64, end: u64) -> std::io::Result<bool> {
        for _ in 0..MAX_CHUNKS {
            // A byte of padding may follow the last chunk.
            if offset == end || offset == end + 1 {
                return Ok(true);
            }
            let Some(chunk) = self.chunk(file, offset)?.filter(|chunk| chunk.size <= end) else { return Ok(false) };
            offset = self.next(file, &chunk)?;
        }
        Ok(false)
    }

    /// Whether another `data` chunk with samples follows `data`.
    pub(super) fn second_data(self, file: &mut File, data: &Chunk, end: u64) -> std::io::Result<bool> {
        let mut offset = self.next(file, data)?;
        for _ in 0..MAX_CHUNKS {
            let Some(chunk) = self.chunk(file, offset)?.filter(|chunk| chunk.size <= end) else { return Ok(false) };
            if &chunk.name == b"data" {
                return Ok(chunk.size > 0);
            }
            offset = self.next(file, &chunk)?;
        }
        Ok(false)
    }
}

/// The little-endian number at `offset`, if it is there.
pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

/// The little-endian number at `offset`, which must be there.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

/// The little-endian number at `offset`, which must be there.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) | u64::from(u32_at(bytes, offset + 4)) << 32
}
