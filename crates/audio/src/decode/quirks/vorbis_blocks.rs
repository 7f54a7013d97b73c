//! The number of samples in an Ogg Vorbis stream, and its trims (Vorbis I, 4.3.8 and A.2). symphonia-format-ogg 0.6.1
//! [trims the end](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-ogg/src/logical.rs#L294-L298)
//! of the first page instead of its start, drops samples at pages without a position, and continues after the end of a
//! stream ([#418](https://github.com/pdeljanov/Symphonia/issues/418) is about such trims).

/// The state of a Vorbis stream, updated page by page.
#[derive(Debug, Default)]
pub(in crate::decode) struct Blocks {
    /// The number of completed packets.
    packets: u64,
    /// The bytes of the current packet: all of a header packet, the first of an audio packet.
    packet: Vec<u8>,
    /// The short and the long block size.
    sizes: Option<[u64; 2]>,
    /// The block size of each mode.
    modes: Vec<u64>,
    /// The size of the previous block.
    previous: Option<u64>,
    /// The number of samples that the packets so far decode to.
    decoded: u64,
    /// The number of samples in pages since the last position.
    since_position: u64,
    /// The granule position of the last audio page that has one.
    position: Option<i64>,
    /// The number of samples to trim from the start.
    skip: u64,
    /// The number of samples to trim from the end.
    trimmed: u64,
    missing: Option<Missing>,
    has_ended: bool,
    /// The number of pages after the end of the stream.
    surplus_pages: u64,
}

/// Samples that granule positions count but no packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Missing {
    /// The index of the first sample after the first gap.
    pub(in crate::decode) at: u64,
    /// The number of missing samples in all gaps.
    pub(in crate::decode) count: u64,
}

/// The part of a stream that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct PlayedRange {
    /// The number of samples to trim from the start.
    pub(in crate::decode) skip: u64,
    /// The number of samples to keep after the trim.
    pub(in crate::decode) keep: u64,
    /// The samples that are missing.
    pub(in crate::decode) missing: Option<Missing>,
    /// The number of pages after the end of the stream.
    pub(in crate::decode) surplus_pages: u64,
}

impl Blocks {
    /// Adds the next complete page of the stream.
    pub(super) fn page(&mut self, page: &[u8]) {
        const LAST: u8 = 4;
        /// The length of the largest setup header in bytes.
        const LARGEST_HEADER: usize = 1 << 24;
        if self.has_ended {
            self.surplus_pages += 1;
            return;
        }
        let segments = usize::from(page[26]);
        let (lacing, mut body) = page[27..].split_at(segments);
        let before = self.decoded;
        let mut ended = false;
        for &length in lacing {
            let (segment, rest) = body.split_at(usize::from(length));
            body = rest;
            match self.packets {
                ..3 if self.packet.len() < LARGEST_HEADER => self.packet.extend_from_slice(segment),
                _ if self.packet.is_empty() => self.packet.extend(segment.first()),
                _ => {}
            }
            if length < 255 {
                ended |= self.packets >= 3;
                self.end_packet();
            }
        }
        self.since_position += self.decoded - before;
        let position = i64::from_le_bytes(std::array::from_fn(|i| page[6 + i]));
        let is_last = page[5] & LAST != 0;
        if ended && position != -1 && self.decoded > 0 {
            self.check_position(position, is_last);
        }
        self.has_ended = is_last;
    }

    /// Compares the granule position at the end of a page with the number of samples.
    fn check_position(&mut self, position: i64, is_last: bool) {
        let expected = match self.position {
            Some(position) => position.saturating_add_unsigned(self.since_position),
            // The first audio page ends at its position, wherever it begins. A stream with one page begins at zero.
            None => i64::try_from(self.decoded).unwrap_or(i64::MAX),
        };
        let surplus = u64::try_from(expected.saturating_sub(position)).unwrap_or(0);
        let lack = u64::try_from(position.saturating_sub(expected)).unwrap_or(0);
        match (self.position.is_some(), is_last) {
            (_, true) => self.trimmed = surplus.min(self.decoded - self.skip),
            (false, false) => self.skip = surplus.min(self.decoded),
            // Other decoders take over the position here and keep all samples.
            (true, false) => {}
        }
        // A lost packet holds a multiple of a quarter of the short block size. Other jumps come from editors, and
        // nothing is missing there.
        let quarter = self.sizes.map_or(1, |[short, _]| (short / 4).max(1));
        if self.position.is_some() && lack > 0 && lack.is_multiple_of(quarter) {
            let count = self.missing.map_or(0, |missing| missing.count).saturating_add(lack);
            let at = self.missing.map_or(self.decoded - self.since_position, |missing| missing.at);
            self.missing = Some(Missing { at: at.saturating_sub(self.skip), count });
        }
        self.position = Some(position);
        self.since_position = 0;
    }

    /// Ends the current packet.
    fn end_packet(&mut self) {
        match self.packets {
            0 => {
                let sizes = self.packet.get(28).filter(|_| self.packet.starts_with(b"\x01vorbis"));
                self.sizes = sizes.map(|sizes| [1 << (sizes & 15), 1 << (sizes >> 4)]);
            }
            1 => {}
            2 => {
                let flags = mode_flags(&self.packet).unwrap_or_default();
                let size = |is_long: bool| self.sizes.map_or(0, |sizes| sizes[usize::from(is_long)]);
                self.modes = flags.into_iter().map(size).collect();
            }
            _ => self.end_block(),
        }
        self.packets += 1;
        self.packet.clear();
    }

    /// Ends an audio packet: it yields the overlap of half its block with half the previous block. Packets without
    /// audio yield nothing.
    fn end_block(&mut self) {
        let Some(first) = self.packet.first().filter(|&first| first & 1 == 0) else { return };
        let bits = self.modes.len().saturating_sub(1).checked_ilog2().map_or(0, |bits| bits + 1);
        let mode = usize::from(first >> 1) & ((1 << bits) - 1);
        let Some(&size) = self.modes.get(mode) else { return };
        self.decoded += self.previous.map_or(0, |previous| (previous + size) / 4);
        self.previous = Some(size);
    }

    /// The played part of a stream that was read to its end; `None` if it is unknown.
    pub(in crate::decode) fn extent(&self) -> Option<PlayedRange> {
        let keep = self.decoded.checked_sub(self.skip + self.trimmed)?;
        let (skip, missing, surplus_pages) = (self.skip, self.missing, self.surplus_pages);
        (!self.modes.is_empty()).then_some(PlayedRange { skip, keep, missing, surplus_pages })
    }
}

/// The block flags of all modes (true is long), read backwards from the end of a setup header: the mode count minus one
/// in 6 bits; for each mode a flag, 32 zero bits and an 8-bit mapping; then a set bit. The fields before have no fixed
/// length.
fn mode_flags(setup: &[u8]) -> Option<Vec<bool>> {
    const MODE: usize = 41;
    let bit = |index: usize| setup[index / 8] >> (index % 8) & 1 == 1;
    let number = |index: usize, bits: usize| (0..bits).fold(0u64, |value, i| value | u64::from(bit(index + i)) << i);
    let mut start = (0..8 * setup.len()).rev().find(|&index| bit(index))?;
    let (mut flags, mut found) = (Vec::new(), None);
    while start >= MODE + 6 && flags.len() < 64 {
        start -= MODE;
        if number(start + 1, 32) != 0 || number(start + 33, 8) > 63 {
            break;
        }
        flags.push(bit(start));
        // The count may also match by chance before the first mode; the longest match is the right one.
        if number(start - 6, 6) + 1 == flags.len() as u64 {
            found = Some(flags.len());
        }
    }
    flags.truncate(found?);
    flags.reverse();
    Some(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setup header with `modes` after arbitrary data.
    fn setup(modes: &[bool]) -> Vec<u8> {
        let mut bits: Vec<u8> = (0..611).map(|i| u8::from(i % 3 != 1)).collect();
        let mut number = |value: u64, count: usize| bits.extend((0..count).map(|i| (value >> i & 1) as u8));
        number(modes.len() as u64 - 1, 6);
        for &is_long in modes {
            number(u64::from(is_long), 1);
            number(0, 32);
            number(u64::from(is_long), 8);
        }
        number(1, 1);
        bits.chunks(8).map(|chunk| chunk.iter().enumerate().map(|(i, bit)| bit << i).sum()).collect()
    }

    fn page(flags: u8, position: i64, packets: &[&[u8]]) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(position.to_le_bytes());
        page.extend([0; 12]);
        let lacing: Vec<u8> = packets
            .iter()
            .flat_map(|packet| {
                let mut sizes = vec![255; packet.len() / 255];
                sizes.push((packet.len() % 255) as u8);
                sizes
            })
            .collect();
        page.push(lacing.len() as u8);
        page.extend(lacing);
        page.extend(packets.concat());
        page
    }

    /// Block sizes 64 and 256: three long blocks yield 128 each, a short block after a long one yields 80.
    const LONG: &[u8] = &[2];
    const SHORT: &[u8] = &[0];

    fn extent(pages: &[(u8, i64, &[&[u8]])]) -> PlayedRange {
        let mut first = b"\x01vorbis".to_vec();
        first.resize(28, 0);
        first.extend([0x86, 1]);
        let mut blocks = Blocks::default();
        blocks.page(&page(2, 0, &[&first]));
        let comment = [b'c'; 700];
        blocks.page(&page(0, 0, &[&comment, &setup(&[false, true])]));
        for &(flags, position, packets) in pages {
            blocks.page(&page(flags, position, packets));
        }
        blocks.extent().unwrap()
    }

    fn plain(skip: u64, keep: u64) -> PlayedRange {
        PlayedRange { skip, keep, missing: None, surplus_pages: 0 }
    }

    #[test]
    fn the_modes_are_found_from_the_end() {
        for modes in [&[false][..], &[true], &[false, true], &[true, false, false, true, true]] {
            assert_eq!(mode_flags(&setup(modes)).as_deref(), Some(modes));
        }
        for nothing in [&[][..], &[0; 40], &[0xff; 40]] {
            assert_eq!(mode_flags(nothing), None);
        }
    }

    #[test]
    fn positions_say_what_is_to_be_extent() {
        let three: &[&[u8]] = &[LONG, LONG, LONG];
        let two: &[&[u8]] = &[LONG, LONG];
        assert_eq!(extent(&[(0, 256, three), (4, 512, two)]), plain(0, 512));
        assert_eq!(extent(&[(0, 256, &[LONG, LONG, LONG, b"\x01"]), (4, 416, &[SHORT, LONG])]), plain(0, 416));
        assert_eq!(extent(&[(0, 256, three), (4, 400, two)]), plain(0, 400), "padding");
        assert_eq!(extent(&[(0, 200, three), (4, 456, two)]), plain(56, 456), "a delay");
        assert_eq!(extent(&[(0, 1000, three), (4, 1256, two)]), plain(0, 512), "a part of a stream");
        assert_eq!(extent(&[(4, 200, three)]), plain(0, 200), "one page: padding");
        assert_eq!(extent(&[(0, -1, three), (0, -1, two), (4, 600, two)]), plain(0, 600), "no positions");
        assert_eq!(extent(&[(0, 256, three), (4, -1, two)]), plain(0, 512), "none at the end");
        assert_eq!(extent(&[(0, -1, three), (0, 500, two), (4, 756, two)]), plain(12, 756), "a delay of two pages");
        // An audio packet on the page of the headers, where it does not belong.
        assert_eq!(extent(&[(0, 0, &[LONG]), (0, 240, two), (4, 496, two)]), plain(16, 496));
        assert_eq!(extent(&[(0, 256, three), (0, 300, two), (4, 556, two)]), plain(0, 768), "the next position counts");
        assert_eq!(extent(&[(0, 256, three), (4, 100, two)]), plain(0, 100), "more padding than the last page holds");
    }

    #[test]
    fn missing_samples_and_surplus_pages_are_counted() {
        let three: &[&[u8]] = &[LONG, LONG, LONG];
        let lost = extent(&[(0, 256, three), (0, 768, &[LONG, LONG]), (4, 1152, three)]);
        let jumps = extent(&[(0, 256, three), (0, 521, &[LONG, LONG]), (4, 905, three)]);
        assert_eq!(jumps, plain(0, 896), "an editor's");
        assert_eq!(lost, PlayedRange { missing: Some(Missing { at: 256, count: 256 }), ..plain(0, 896) });
        let twice = extent(&[(0, 256, three), (4, 600, three), (0, 984, three), (4, 1368, three)]);
        assert_eq!(twice, PlayedRange { surplus_pages: 2, ..plain(0, 600) });
    }
}
