//! Frame streams without a container: MPEG audio and ADTS. symphonia 0.6.1 resynchronises on invalid data and drops it
//! without an error.

use std::fs::File;

use super::lame_tag;
use super::layout::{Hole, Layout, bytes_at};
use super::media::Piece;
use super::tags;

/// A frame header.
pub(super) trait FrameHeader: Sized + Copy {
    /// Header bytes needed by [`FrameHeader::read`].
    const SIZE: usize;

    /// Parses the header at the start of `bytes`.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// Frame length in bytes, including the header.
    fn length(&self) -> u64;
    /// Samples per channel.
    fn samples(&self) -> u64;
    /// Whether the frame can belong to the same stream as `first`.
    fn is_of_stream(&self, first: &Self) -> bool;
    /// The mean frame length in bytes, if the bit rate equals that of `first`.
    fn constant_length(&self, first: &Self) -> Option<f64>;
    /// A frame of silence with this header.
    fn silence(&self) -> Option<Vec<u8>>;
    /// The Xing or LAME tag in the frame, which then holds no audio.
    fn tag(&self, frame: &[u8]) -> Option<lame_tag::Tag>;
    /// The reason why the stream cannot be decoded.
    fn refused(&self) -> Option<String>;
}

/// Buffered access to a range of a file.
struct Bytes<'a> {
    file: &'a mut File,
    start: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl Bytes<'_> {
    /// Up to `count` bytes at `place`, fewer at the end.
    fn at(&mut self, place: u64, count: usize) -> std::io::Result<&[u8]> {
        const BUFFER: usize = 1 << 17;
        let count = count.min(usize::try_from(self.end.saturating_sub(place)).unwrap_or(usize::MAX));
        let is_there = place >= self.start && place + count as u64 <= self.start + self.buffer.len() as u64;
        if !is_there {
            let most = usize::try_from(self.end - place.min(self.end)).unwrap_or(usize::MAX).min(BUFFER.max(count));
            self.buffer = bytes_at(self.file, place, most)?;
            self.start = place;
        }
        let from = (place - self.start) as usize;
        Ok(&self.buffer[from..(from + count).min(self.buffer.len())])
    }

    fn header<H: FrameHeader>(&mut self, place: u64) -> std::io::Result<Option<H>> {
        Ok(H::read(self.at(place, H::SIZE)?))
    }

    /// The first offset from `place` to `limit` at which consecutive frames of one stream begin; with `first`, of its
    /// stream.
    fn find<H: FrameHeader>(&mut self, place: u64, limit: u64, first: Option<&H>) -> std::io::Result<Option<(u64, H)>> {
        /// Consecutive headers that make a chance match unlikely across all files of any library.
        const ROW: u32 = 4;
        let mut start = place;
        while start < limit.min(self.end) {
            let block = self.at(start, 1 << 16)?;
            let Some(offset) = block.iter().position(|&byte| byte == 0xff) else {
                start += block.len().max(1) as u64;
                continue;
            };
            start += offset as u64;
            let Some(header) =
                self.header::<H>(start)?.filter(|header| first.is_none_or(|first| header.is_of_stream(first)))
            else {
                start += 1;
                continue;
            };
            let (mut next, mut row) = (start + header.length(), 1);
            while row < ROW && next < self.end {
                match self.header::<H>(next)? {
                    Some(other) if other.is_of_stream(&header) => next += other.length(),
                    _ => break,
                }
                row += 1;
            }
            // Fewer frames are enough before the end of the file or tags.
            let ends = next == self.end || next < self.end && tags::length(self.at(next, tags::MARK)?).is_some();
            if row == ROW || row > 1 && (ends || next > self.end) {
                return Ok(Some((start, header)));
            }
            start += 1;
        }
        Ok(None)
    }
}

/// The state of a scan through a stream.
struct Walk<H> {
    first: H,
    pieces: Vec<Piece>,
    /// The offset at which the current run of frames began.
    run: u64,
    packets: u64,
    samples: u64,
    /// The mean frame length while the bit rate is constant, and the frame count that the tag states.
    constant: Option<f64>,
    stated: Option<u64>,
    /// Holes, each with the number of pieces before it.
    holes: Vec<(Hole, usize)>,
}

/// The layout of a stream: its frames without the data between them. `None` if there is no stream.
pub(super) fn layout<H: FrameHeader>(file: &mut File, start: u64, end: u64) -> std::io::Result<Option<Layout>> {
    /// The most junk, in bytes, that may precede a stream.
    const JUNK: u64 = 1 << 17;
    let mut bytes = Bytes { file, start: 0, end, buffer: Vec::new() };
    let Some((first_place, first)) = bytes.find::<H>(start, start + JUNK, None)? else { return Ok(None) };
    let constant = first.constant_length(&first);
    let mut walk = Walk {
        first,
        pieces: Vec::new(),
        run: first_place,
        packets: 0,
        samples: 0,
        constant,
        stated: None,
        holes: Vec::new(),
    };
    let mut notes = Vec::new();
    let mut place = first_place;
    let mut is_first = true;
    while place < end {
        if let Some(header) = bytes.header::<H>(place)?.filter(|header| header.is_of_stream(&walk.first)) {
            walk.frame(&mut bytes, place, header, is_first)?;
            is_first = false;
            place += header.length();
            continue;
        }
        walk.end_run(place);
        let junk = place;
        while let Some(length) = tags::length(bytes.at(place, tags::MARK)?) {
            place = place.saturating_add(length).min(end);
        }
        walk.run = place;
        let is_frame = bytes.header::<H>(place)?.is_some_and(|header| header.is_of_stream(&walk.first));
        if place >= end || is_frame && place > junk {
            continue;
        }
        let Some((next, _)) = bytes.find(place + 1, end, Some(&walk.first))? else {
            notes.extend(behind(&mut bytes, place, end)?);
            break;
        };
        // Junk before the first frame is not a hole.
        if walk.packets > 0 {
            walk.hole(next - place);
        }
        (place, walk.run) = (next, next);
    }
    walk.end_run(place.min(end));
    let mut holes = std::mem::take(&mut walk.holes);
    if walk.stated == Some(walk.packets) {
        // No frame is missing.
        let bytes: u64 = holes.iter().map(|(hole, _)| hole.bytes).sum();
        if bytes > 0 {
            notes.push(format!("{bytes} bytes between frames are not sound and were left out; no frame is missing"));
        }
        holes.clear();
    }
    let holes = walk.fill(holes);
    let behind = walk.stated.and_then(|stated| walk.packets.checked_sub(stated)).filter(|&behind| behind > 0);
    Ok(Some(Layout { behind, pieces: Some(walk.pieces), holes, notes, refused: first.refused(), ..Layout::default() }))
}

/// A note about data after the last frame, if it is more than a few bytes.
fn behind<'a>(bytes: &mut Bytes<'a>, place: u64, end: u64) -> std::io::Result<Option<String>> {
    const FEW: u64 = 4096;
    let start = bytes.at(place, FEW as usize)?;
    let what = if start.iter().all(|&byte| byte == 0) { "zeros" } else { "bytes" };
    let count = end - place;
    Ok((count > FEW).then(|| format!("{count} {what} after the last frame are not sound and were left out")))
}

impl<H: FrameHeader> Walk<H> {
    fn frame(&mut self, bytes: &mut Bytes<'_>, place: u64, header: H, is_first: bool) -> std::io::Result<()> {
        /// The longest Xing tag in bytes.
        const TAG: usize = 300;
        let length = usize::try_from(header.length()).unwrap_or(usize::MAX).min(TAG);
        if let Some(tag) = header.tag(bytes.at(place, length)?) {
            if is_first {
                self.stated = tag.frames;
                if let Some(at) = tag.checksum_at {
                    // A checksum of zero means that none was written.
                    let at = place + at as u64;
                    self.end_run(at);
                    self.pieces.push(Piece::Bytes(vec![0, 0]));
                    self.run = at + 2;
                }
            }
            return Ok(());
        }
        if self.packets == 0 {
            // The tag's frame may have another bit rate.
            self.first = header;
            self.constant = header.constant_length(&header);
        } else if header.constant_length(&self.first).is_none() {
            self.constant = None;
        }
        self.packets += 1;
        self.samples += header.samples();
        Ok(())
    }

    fn end_run(&mut self, place: u64) {
        if place > self.run {
            self.pieces.push(Piece::File { start: self.run, length: place - self.run });
        }
        self.run = place;
    }

    fn hole(&mut self, bytes: u64) {
        let (packet, sample) = (self.packets, self.samples);
        self.holes.push((Hole { packet, sample, bytes, filled: false }, self.pieces.len()));
    }

    /// Fills the holes whose length is known with silence.
    fn fill(&mut self, holes: Vec<(Hole, usize)>) -> Vec<Hole> {
        let stated = self.stated.and_then(|stated| stated.checked_sub(self.packets)).filter(|_| holes.len() == 1);
        let by_bytes = |hole: &Hole| Some((hole.bytes as f64 / self.constant?).round() as u64);
        let missing: Vec<Option<u64>> = holes.iter().map(|(hole, _)| stated.or_else(|| by_bytes(hole))).collect();
        let silence = self.first.silence();
        let (mut packets, mut inserted) = (0, 0);
        let mut filled = Vec::new();
        for ((hole, place), missing) in holes.into_iter().zip(missing) {
            let (packet, sample) = (hole.packet + packets, hole.sample + packets * self.first.samples());
            let mut hole = Hole { packet, sample, ..hole };
            if let (Some(missing), Some(silence)) = (missing, &silence) {
                let length = missing * silence.len() as u64;
                self.pieces.insert(place + inserted, Piece::Repeated { bytes: silence.clone(), length });
                inserted += 1;
                packets += missing;
                hole.filled = true;
                hole.packet += missing;
            }
            filled.push(hole);
        }
        filled
    }
}
