//! Tags before and after the audio, and the end of a truncated MP4 file. symphonia 0.6.1 fails on ID3v2 tags of a
//! megabyte and on invalid ones, treats the last FLAC frame before a tag as damaged, and drops the whole `mdat` box of
//! an MP4 file that ends within it.

use std::io::{Read, Seek, SeekFrom};

/// Where the last box of an MP4 file ends, or other files do.
pub(super) fn mp4_length(file: &mut (impl Read + Seek), length: u64) -> std::io::Result<u64> {
    /// Music files have a handful of them; more are no reason to read on.
    const MOST_BOXES: u32 = 1000;
    let mut end = 0u64;
    for number in 0..MOST_BOXES {
        let mut header = Vec::with_capacity(16);
        file.seek(SeekFrom::Start(end))?;
        file.take(16).read_to_end(&mut header)?;
        let (Some(size), Some(kind)) = (header.first_chunk().map(|size| u32::from_be_bytes(*size)), header.get(4..8))
        else {
            break;
        };
        if number == 0 && kind != b"ftyp" {
            break;
        }
        let size = match (size, header.last_chunk()) {
            (1, Some(size)) if header.len() == 16 => u64::from_be_bytes(*size),
            (size, _) => u64::from(size),
        };
        let Some(next) = end.checked_add(size).filter(|_| size >= 8) else { break };
        if next > length {
            // Seeking takes signed numbers.
            file.rewind()?;
            return Ok(if kind == b"mdat" && next < 1 << 62 { next } else { length });
        }
        end = next;
    }
    file.rewind()?;
    Ok(length)
}

/// Where a file begins behind its ID3v2 tags (ID3v2.4, 3.1): their sizes have seven bits in each byte, and do not count
/// the header nor the footer that a flag tells.
pub(super) fn behind_id3v2(file: &mut (impl Read + Seek), end: u64) -> std::io::Result<u64> {
    const HEADER: u64 = 10;
    let mut start = 0;
    let mut header = [0; HEADER as usize];
    while start + HEADER < end {
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut header)?;
        let size = &header[6..];
        if !header.starts_with(b"ID3") || size.iter().any(|byte| byte >> 7 == 1) {
            break;
        }
        let size = size.iter().fold(0, |size, &byte| (size << 7) | u64::from(byte));
        let footer = if header[5] & 0x10 == 0 { 0 } else { HEADER };
        let next = start + HEADER + size + footer;
        if next >= end {
            break;
        }
        start = next;
    }
    Ok(start)
}

/// Where a FLAC file ends before the tags that some programs put behind it: the reader would take the last frame, which
/// nothing but them follows, for damaged.
pub(super) fn before_tags(file: &mut (impl Read + Seek), start: u64, length: u64) -> std::io::Result<u64> {
    const ID3V1: u64 = 128;
    const APE_FOOTER: u64 = 32;
    let mut end = length;
    if length > start + ID3V1 {
        let mut tag = [0; 3];
        file.seek(SeekFrom::Start(end - ID3V1))?;
        file.read_exact(&mut tag)?;
        if &tag == b"TAG" {
            end -= ID3V1;
        }
        let mut footer = [0; APE_FOOTER as usize];
        file.seek(SeekFrom::Start(end.saturating_sub(APE_FOOTER)))?;
        file.read_exact(&mut footer)?;
        if footer.starts_with(b"APETAGEX") {
            // Its size is of the items and the footer; a header before them is told by a flag.
            let number = |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
            let header = if number(20) >> 31 == 1 { APE_FOOTER } else { 0 };
            end = end.saturating_sub(u64::from(number(12)) + header).max(start);
        }
    }
    Ok(end)
}

/// Bytes that [`length`] needs.
pub(super) const MARK: usize = 32;

/// The length of the tag at the start of `bytes`, if there is one: ID3v1, ID3v2 or APEv2.
pub(super) fn length(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [b'T', b'A', b'G', ..] => Some(128),
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] if [a, b, c, d].iter().all(|&&byte| byte < 128) => {
            let size = [a, b, c, d].iter().fold(0, |size, &&byte| (size << 7) | u64::from(byte));
            Some(10 + size + if flags & 0x10 == 0 { 0 } else { 10 })
        }
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', ..] if bytes.len() == MARK => {
            let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            // The stated size follows a header (flagged) and precedes a footer.
            let is_header = number(20) >> 29 & 1 == 1;
            Some(32 + if is_header { u64::from(number(12)) } else { 0 })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn length(boxes: &[(u32, &[u8; 4])], bytes: usize) -> u64 {
        let mut file = Vec::new();
        for (size, kind) in boxes {
            let start = file.len();
            file.extend(size.to_be_bytes());
            file.extend(*kind);
            file.resize(start + (*size as usize).clamp(8, 5000), 0);
        }
        file.resize(bytes, 0);
        mp4_length(&mut Cursor::new(&file), bytes as u64).unwrap()
    }

    #[test]
    fn only_samples_that_are_cut_off_make_a_file_longer() {
        assert_eq!(length(&[(20, b"ftyp"), (100, b"moov"), (1000, b"mdat")], 1120), 1120);
        assert_eq!(length(&[(20, b"ftyp"), (100, b"moov"), (1000, b"mdat")], 500), 1120);
        assert_eq!(length(&[(20, b"ftyp"), (100, b"moov"), (4_000_000_000, b"mdat")], 500), 4_000_000_120);
        for boxes in [
            [(20, b"ftyp"), (10_000, b"moov"), (100, b"mdat")],
            [(20, b"RIFF"), (100, b"moov"), (10_000, b"mdat")],
            [(20, b"ftyp"), (7, b"moov"), (10_000, b"mdat")],
            [(20, b"ftyp"), (0, b"mdat"), (10_000, b"mdat")],
            [(20, b"ftyp"), (100, b"mdat"), (10_000, b"TAG\0")],
        ] {
            assert_eq!(length(&boxes, 600), 600, "{boxes:?}");
        }
        for bytes in 0..20 {
            assert_eq!(length(&[(20, b"ftyp")], bytes), bytes as u64);
        }
    }
}
