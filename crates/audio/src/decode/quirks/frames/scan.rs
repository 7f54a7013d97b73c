//! The scan of a frame stream: where its frames are, and what lies between them.

use std::fs::File;

use super::header::FrameHeader;
use crate::decode::quirks::layout::{Hole, Layout, bytes_at};
use crate::decode::quirks::media::Piece;
use crate::decode::quirks::tags;

/// Buffered access to a range of a file.
struct Bytes<'a> {
    file: &'a mut File,
    start: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl Bytes<'_> {
    /// The bytes at `place`: `count`, or fewer at the end.
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

    /// The first offset from `place` to `limit` at which consecutive frames of one stream begin: of any stream, or of that
    /// of `first`.
    fn find<H: FrameHeader>(&mut self, place: u64, limit: u64, first: Option<&H>) -> std::io::Result<Option<(u64, H)>> {
        /// The number of consecutive headers that makes a chance match unlikely across all files of any library.
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
struct Scan<H> {
    first: H,
    pieces: Vec<Piece>,
    /// The offset of the first frame of the current run.
    run: u64,
    packets: u64,
    samples: u64,
    /// The mean length of a frame in bytes, as long as the bit rate is constant.
    constant: Option<f64>,
    /// The number of frames that the tag states.
    stated: Option<u64>,
    /// The holes, each with the number of pieces before it.
    holes: Vec<(Hole, usize)>,
}

/// The layout of a stream from `start` to `end`: its frames without the data between them. `None` if there is no stream.
pub(in crate::decode::quirks) fn layout<H: FrameHeader>(
    file: &mut File,
    start: u64,
    end: u64,
) -> std::io::Result<Option<Layout>> {
    /// The largest amount of junk in bytes that may precede a stream.
    const JUNK: u64 = 1 << 17;
    let mut bytes = Bytes { file, start: 0, end, buffer: Vec::new() };
    let Some((first_place, first)) = bytes.find::<H>(start, start + JUNK, None)? else { return Ok(None) };
    let constant = first.constant_length(&first);
    let mut scan = Scan {
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
        if let Some(header) = bytes.header::<H>(place)?.filter(|header| header.is_of_stream(&scan.first)) {
            scan.frame(&mut bytes, place, header, is_first)?;
            is_first = false;
            place += header.length();
            continue;
        }
        scan.end_run(place);
        let junk = place;
        while let Some(length) = tags::length(bytes.at(place, tags::MARK)?) {
            place = place.saturating_add(length).min(end);
        }
        scan.run = place;
        let is_frame = bytes.header::<H>(place)?.is_some_and(|header| header.is_of_stream(&scan.first));
        if place >= end || is_frame && place > junk {
            continue;
        }
        let Some((next, _)) = bytes.find(place + 1, end, Some(&scan.first))? else {
            notes.extend(note_of_rest(&mut bytes, place, end)?);
            break;
        };
        // Junk before the first frame is not a hole.
        if scan.packets > 0 {
            scan.hole(next - place);
        }
        (place, scan.run) = (next, next);
    }
    scan.end_run(place.min(end));
    let mut holes = std::mem::take(&mut scan.holes);
    if scan.stated == Some(scan.packets) {
        // All stated frames are there.
        let bytes: u64 = holes.iter().map(|(hole, _)| hole.bytes).sum();
        if bytes > 0 {
            notes.push(format!("{bytes} bytes between frames are not audio and were skipped; no frame is missing"));
        }
        holes.clear();
    }
    let holes = scan.fill(holes);
    let surplus_frames = scan.stated.and_then(|stated| scan.packets.checked_sub(stated)).filter(|&count| count > 0);
    let (pieces, unsupported) = (Some(scan.pieces), first.unsupported());
    Ok(Some(Layout { surplus_frames, pieces, holes, notes, unsupported, ..Layout::default() }))
}

/// The note about data after the last frame, if it is more than a few bytes.
fn note_of_rest(bytes: &mut Bytes<'_>, place: u64, end: u64) -> std::io::Result<Option<String>> {
    const FEW: u64 = 4096;
    let start = bytes.at(place, FEW as usize)?;
    let what = if start.iter().all(|&byte| byte == 0) { "zeros" } else { "bytes" };
    let count = end - place;
    Ok((count > FEW).then(|| format!("{count} {what} after the last frame are not audio and were skipped")))
}

impl<H: FrameHeader> Scan<H> {
    /// Adds the frame at `place`.
    fn frame(&mut self, bytes: &mut Bytes<'_>, place: u64, header: H, is_first: bool) -> std::io::Result<()> {
        /// The length of the longest Xing tag in bytes.
        const TAG: usize = 300;
        let length = usize::try_from(header.length()).unwrap_or(usize::MAX).min(TAG);
        if let Some(tag) = header.tag(bytes.at(place, length)?) {
            if is_first {
                self.stated = tag.frames;
                if let Some(at) = tag.checksum_at {
                    // A checksum of zero means that there is none.
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

    /// Ends the current run of frames at `place`.
    fn end_run(&mut self, place: u64) {
        if place > self.run {
            self.pieces.push(Piece::File { start: self.run, length: place - self.run });
        }
        self.run = place;
    }

    /// Adds a hole of `bytes` bytes after the frames so far.
    fn hole(&mut self, bytes: u64) {
        let (packet, sample) = (self.packets, self.samples);
        self.holes.push((Hole { packet, sample, bytes, filled: false }, self.pieces.len()));
    }

    /// Fills the holes whose length in frames is known with silence.
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
