//! MPEG audio in WAV, which symphonia's WAV reader lacks: the `data` chunk is a stream of frames, and is passed to the
//! MPEG reader.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes};

use crate::Result;

/// The fields of a WAV header that decide on the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct WaveHeader {
    /// The format tag; with an extensible header, that of the subformat.
    pub(in crate::decode) tag: u16,
    /// The offset and the stated size of the `data` chunk's body in bytes.
    pub(in crate::decode) data: Option<(u64, u32)>,
}

/// Parses the header in the first bytes of a RIFF file; `None` if it is invalid.
pub(in crate::decode) fn wave_header(head: &[u8]) -> Option<WaveHeader> {
    let u32_at = |offset: usize| head.get(offset..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let u16_at = |offset: usize| head.get(offset..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    let (mut offset, mut tag) = (12, None);
    loop {
        let Some((name, size)) = head.get(offset..offset + 4).zip(u32_at(offset + 4)) else {
            return tag.map(|tag| WaveHeader { tag, data: None });
        };
        match (name, tag) {
            (b"fmt ", _) => {
                let found = u16_at(offset + 8)?;
                tag = if found == 0xfffe { u16_at(offset + 8 + 24) } else { Some(found) };
            }
            (b"data", Some(tag)) => return Some(WaveHeader { tag, data: Some((offset as u64 + 8, size)) }),
            _ => {}
        }
        offset = offset.checked_add(8)?.checked_add(size as usize)?.checked_add((size & 1) as usize)?;
    }
}

/// The `data` chunk of a WAV file as a stream, and whether the file ends within it.
pub(in crate::decode) fn data(
    mut stream: MediaSourceStream<'static>,
    start: u64,
    size: u32,
) -> Result<(MediaSourceStream<'static>, bool)> {
    stream.ignore_bytes(start)?;
    let left = stream.byte_len().map(|length| length.saturating_sub(stream.pos()));
    // Programs that write to a pipe do not know the size.
    let stated = Some(u64::from(size)).filter(|&size| size != 0 && size != u64::from(u32::MAX));
    let is_truncated = stated.zip(left).is_some_and(|(stated, left)| stated > left);
    let length = stated.into_iter().chain(left).min().unwrap_or(u64::from(u32::MAX));
    Ok((MediaSourceStream::new(Box::new(Section::new(stream, length)), Default::default()), is_truncated))
}

/// A range of a stream, as a stream.
struct Section {
    stream: MediaSourceStream<'static>,
    start: u64,
    /// The length in bytes.
    length: u64,
    /// The position in bytes from `start`.
    position: u64,
}

impl Section {
    /// The next `length` bytes of `stream`.
    fn new(stream: MediaSourceStream<'static>, length: u64) -> Self {
        Section { start: stream.pos(), stream, length, position: 0 }
    }
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let length = into.len().min(left);
        let read = self.stream.read(&mut into[..length])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
        };
        let position = position.filter(|&position| position <= self.length).ok_or(std::io::ErrorKind::InvalidInput)?;
        self.stream.seek(SeekFrom::Start(self.start + position))?;
        self.position = position;
        Ok(position)
    }
}

impl MediaSource for Section {
    fn is_seekable(&self) -> bool {
        self.stream.is_seekable()
    }

    fn byte_len(&self) -> Option<u64> {
        self.is_seekable().then_some(self.length)
    }
}
