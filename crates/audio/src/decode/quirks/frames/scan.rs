//! The scan of a frame stream: where its frames are, and what lies between them. symphonia-bundle-mp3 0.6.1
//! [skips](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-bundle-mp3/src/header.rs#L79-L101) all bytes up
//! to the next sync word without an error, so that the rest of a damaged stream would move forward in time.

use std::fs::File;

use super::header::FrameHeader;
use crate::decode::quirks::layout::{Gap, Layout, bytes_at};
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
    /// The bytes at `position`: `count`, or fewer at the end.
    fn at(&mut self, position: u64, count: usize) -> std::io::Result<&[u8]> {
        /// The number of bytes that are read at once.
        const BUFFER: usize = 1 << 17;
        let count = count.min(usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX));
        let is_buffered = position >= self.start && position + count as u64 <= self.start + self.buffer.len() as u64;
        if !is_buffered {
            let length =
                usize::try_from(self.end - position.min(self.end)).unwrap_or(usize::MAX).min(BUFFER.max(count));
            self.buffer = bytes_at(self.file, position, length)?;
            self.start = position;
        }
        let from = (position - self.start) as usize;
        Ok(&self.buffer[from..(from + count).min(self.buffer.len())])
    }

    /// The header at `position`, if it is valid.
    fn header<H: FrameHeader>(&mut self, position: u64) -> std::io::Result<Option<H>> {
        Ok(H::read(self.at(position, H::SIZE)?))
    }

    /// The first offset from `position` to `limit` at which consecutive frames of one stream begin: of any stream, or
    /// of that of `first`.
    fn find<H: FrameHeader>(
        &mut self,
        position: u64,
        limit: u64,
        first: Option<&H>,
    ) -> std::io::Result<Option<(u64, H)>> {
        /// The number of consecutive headers that makes a chance match unlikely across all files of any library.
        const RUN: u32 = 4;
        let mut start = position;
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
            let (mut next, mut consecutive) = (start + header.length(), 1);
            while consecutive < RUN && next < self.end {
                match self.header::<H>(next)? {
                    Some(other) if other.is_of_stream(&header) => next += other.length(),
                    _ => break,
                }
                consecutive += 1;
            }
            // Fewer frames are enough before the end of the file or tags.
            let ends = next == self.end || next < self.end && tags::length(self.at(next, tags::MARK)?).is_some();
            if consecutive == RUN || consecutive > 1 && (ends || next > self.end) {
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
    /// The gaps, each with the number of pieces before it.
    gaps: Vec<(Gap, usize)>,
}

/// The layout of a stream from `start` to `end`: its frames without the data between them. `None` if there is no
/// stream.
pub(in crate::decode::quirks) fn layout<H: FrameHeader>(
    file: &mut File,
    start: u64,
    end: u64,
) -> std::io::Result<Option<Layout>> {
    /// The largest amount of junk in bytes that may precede a stream.
    const JUNK: u64 = 1 << 17;
    let mut bytes = Bytes { file, start: 0, end, buffer: Vec::new() };
    let Some((first_frame, first)) = bytes.find::<H>(start, start + JUNK, None)? else { return Ok(None) };
    let constant = first.constant_length(&first);
    let mut scan = Scan {
        first,
        pieces: Vec::new(),
        run: first_frame,
        packets: 0,
        samples: 0,
        constant,
        stated: None,
        gaps: Vec::new(),
    };
    let mut notes = Vec::new();
    let mut position = first_frame;
    let mut is_first = true;
    while position < end {
        if let Some(header) = bytes.header::<H>(position)?.filter(|header| header.is_of_stream(&scan.first)) {
            scan.frame(&mut bytes, position, header, is_first)?;
            is_first = false;
            position += header.length();
            continue;
        }
        scan.end_run(position);
        let junk = position;
        while let Some(length) = tags::length(bytes.at(position, tags::MARK)?) {
            position = position.saturating_add(length).min(end);
        }
        scan.run = position;
        let is_frame = bytes.header::<H>(position)?.is_some_and(|header| header.is_of_stream(&scan.first));
        if position >= end || is_frame && position > junk {
            continue;
        }
        let Some((next, _)) = bytes.find(position + 1, end, Some(&scan.first))? else {
            notes.extend(note_of_rest(&mut bytes, position, end)?);
            break;
        };
        // Junk before the first frame is not a gap.
        if scan.packets > 0 {
            scan.add_gap(next - position);
        }
        (position, scan.run) = (next, next);
    }
    scan.end_run(position.min(end));
    let mut gaps = std::mem::take(&mut scan.gaps);
    if scan.stated == Some(scan.packets) {
        // All stated frames are there.
        let bytes: u64 = gaps.iter().map(|(gap, _)| gap.bytes).sum();
        if bytes > 0 {
            notes.push(format!("{bytes} bytes between frames are not audio and were skipped; no frame is missing"));
        }
        gaps.clear();
    }
    let gaps = scan.fill(gaps);
    let surplus_frames = scan.stated.and_then(|stated| scan.packets.checked_sub(stated)).filter(|&count| count > 0);
    let (pieces, unsupported) = (Some(scan.pieces), first.unsupported());
    Ok(Some(Layout { surplus_frames, pieces, gaps, notes, unsupported, ..Layout::default() }))
}

/// The note about data after the last frame, if it is more than a few bytes.
fn note_of_rest(bytes: &mut Bytes<'_>, position: u64, end: u64) -> std::io::Result<Option<String>> {
    const FEW: u64 = 4096;
    let start = bytes.at(position, FEW as usize)?;
    let what = if start.iter().all(|&byte| byte == 0) { "zeros" } else { "bytes" };
    let count = end - position;
    Ok((count > FEW).then(|| format!("{count} {what} after the last frame are not audio and were skipped")))
}

impl<H: FrameHeader> Scan<H> {
    /// Adds the frame at `position`.
    fn frame(&mut self, bytes: &mut Bytes<'_>, position: u64, header: H, is_first: bool) -> std::io::Result<()> {
        /// The length of the longest Xing tag in bytes.
        const TAG: usize = 300;
        let length = usize::try_from(header.length()).unwrap_or(usize::MAX).min(TAG);
        if let Some(tag) = header.tag(bytes.at(position, length)?) {
            if is_first {
                self.stated = tag.frames;
                if let Some(at) = tag.checksum_at {
                    // A checksum of zero means that there is none.
                    let at = position + at as u64;
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

    /// Ends the current run of frames at `position`.
    fn end_run(&mut self, position: u64) {
        if position > self.run {
            self.pieces.push(Piece::File { start: self.run, length: position - self.run });
        }
        self.run = position;
    }

    /// Adds a gap of `bytes` bytes after the frames so far.
    fn add_gap(&mut self, bytes: u64) {
        let (packet, sample) = (self.packets, self.samples);
        self.gaps.push((Gap { packet, sample, bytes, filled: false }, self.pieces.len()));
    }

    /// Fills the gaps whose length in frames is known with silence.
    fn fill(&mut self, gaps: Vec<(Gap, usize)>) -> Vec<Gap> {
        /// The longest gap in samples that is filled because a tag states more frames than there are: an hour and a half
        /// at 48 kHz. The count is 32 bits that nothing else confirms, and years of silence would never end.
        const LONGEST_STATED_GAP: u64 = 1 << 28;
        let frame = self.first.samples();
        let is_plausible = |missing: &u64| missing.saturating_mul(frame) <= LONGEST_STATED_GAP;
        let stated = self.stated.and_then(|stated| stated.checked_sub(self.packets)).filter(is_plausible);
        let stated = stated.filter(|_| gaps.len() == 1);
        let by_bytes = |gap: &Gap| Some((gap.bytes as f64 / self.constant?).round() as u64);
        let missing: Vec<Option<u64>> = gaps.iter().map(|(gap, _)| stated.or_else(|| by_bytes(gap))).collect();
        let silence = self.first.silence();
        let (mut packets, mut inserted) = (0, 0);
        let mut filled = Vec::new();
        for ((gap, piece), missing) in gaps.into_iter().zip(missing) {
            let (packet, sample) = (gap.packet + packets, gap.sample + packets * self.first.samples());
            let mut gap = Gap { packet, sample, ..gap };
            if let (Some(missing), Some(silence)) = (missing, &silence) {
                let length = missing * silence.len() as u64;
                self.pieces.insert(piece + inserted, Piece::Repeated { bytes: silence.clone(), length });
                inserted += 1;
                packets += missing;
                gap.filled = true;
                gap.packet += missing;
            }
            filled.push(gap);
        }
        filled
    }
}
