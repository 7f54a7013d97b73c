//! Tags before and after the audio. symphonia-core 0.6.1 skips ID3v2 tags only in its probe, which fails on invalid
//! ones and [gives up after a
//! megabyte](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-core/src/formats/probe.rs#L304);
//! symphonia-bundle-flac 0.6.1 treats the last frame before a tag as damaged.

use std::io::{Read, Seek, SeekFrom};

use super::chunks::u32_at;
use super::layout::bytes_at;
use crate::id3v2;

/// The offset of the first byte after the ID3v2 tags of a file; a tag that extends to `end` is not skipped.
pub(super) fn after_id3v2(file: &mut (impl Read + Seek), end: u64) -> std::io::Result<u64> {
    let mut start = 0;
    while start + (id3v2::HEADER as u64) < end {
        let header = bytes_at(file, start, id3v2::HEADER)?;
        match id3v2::length(&header).map(|length| start + length).filter(|&next| next < end) {
            Some(next) => start = next,
            None => break,
        }
    }
    Ok(start)
}

/// The end of a FLAC file from `start` to `length` without the tags that some programs append: the reader would treat
/// the last frame before them as damaged.
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
            // The stated size is that of the items and the footer; a flag announces a header before them.
            let header = if u32_at(&footer, 20) >> 31 == 1 { APE_FOOTER } else { 0 };
            end = end.saturating_sub(u64::from(u32_at(&footer, 12)) + header).max(start);
        }
    }
    Ok(end)
}

/// The number of bytes that [`length`] needs.
pub(super) const MARK: usize = 32;

/// The length in bytes of the tag at the start of `bytes`, if there is one: ID3v1, ID3v2 or APEv2.
pub(super) fn length(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [b'T', b'A', b'G', ..] => Some(128),
        [b'I', b'D', b'3', ..] => id3v2::length(bytes),
        [b'A', b'P', b'E', b'T', b'A', b'G', b'E', b'X', ..] if bytes.len() == MARK => {
            // The stated size follows a header, which a flag marks, and precedes a footer.
            let is_header = u32_at(bytes, 20) >> 29 & 1 == 1;
            Some(32 + if is_header { u64::from(u32_at(bytes, 12)) } else { 0 })
        }
        _ => None,
    }
}
