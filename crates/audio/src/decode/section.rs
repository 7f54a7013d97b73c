//! MPEG audio in WAV: the `data` chunk holds a stream of frames, which the MPEG reader decodes.

use std::io::{Read, Seek, SeekFrom};

use symphonia::core::io::{MediaSource, MediaSourceStream, ReadBytes};

/// The fields of a WAV header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WaveHeader {
    /// The format tag; for an extensible header, that of the subformat.
    pub(super) tag: u16,
    /// The offset and the stated size of the samples, in bytes.
    pub(super) data: Option<(u64, u32)>,
}

/// Parses the header in the first bytes of a RIFF file.
pub(super) fn wave_header(head: &[u8]) -> Option<WaveHeader> {
    let number = |place: usize| head.get(place..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let short = |place: usize| head.get(place..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    let (mut place, mut tag) = (12, None);
    loop {
        let Some((name, size)) = head.get(place..place + 4).zip(number(place + 4)) else {
            return tag.map(|tag| WaveHeader { tag, data: None });
        };
        match (name, tag) {
            (b"fmt ", _) => {
                let found = short(place + 8)?;
                tag = if found == 0xfffe { short(place + 8 + 24) } else { Some(found) };
            }
            (b"data", Some(tag)) => return Some(WaveHeader { tag, data: Some((place as u64 + 8, size)) }),
            _ => {}
        }
        place = place.checked_add(8)?.checked_add(size as usize)?.checked_add((size & 1) as usize)?;
    }
}

/// A range of a stream, as a stream.
pub(super) struct Section {
    stream: MediaSourceStream<'static>,
    start: u64,
    /// Length and position in bytes.
    length: u64,
    position: u64,
}

impl Section {
    /// The next `length` bytes of `stream`.
    pub(super) fn new(stream: MediaSourceStream<'static>, length: u64) -> Self {
        Section { start: stream.pos(), stream, length, position: 0 }
    }
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.length - self.position).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        let read = self.stream.read(&mut into[..most])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
        };
        let place = place.filter(|&place| place <= self.length).ok_or(std::io::ErrorKind::InvalidInput)?;
        self.stream.seek(SeekFrom::Start(self.start + place))?;
        self.position = place;
        Ok(place)
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
