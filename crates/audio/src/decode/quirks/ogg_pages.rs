//! The integrity of the pages of an Ogg file (RFC 3533). symphonia-format-ogg 0.6.1
//! [drops damaged pages](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-ogg/src/page.rs#L240-L252)
//! and treats a truncated file as a shorter one, both without an error.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor;

use super::chunks::u32_at;
use super::vorbis_blocks::Blocks;

/// The result of checking an Ogg file.
#[derive(Debug)]
pub(in crate::decode) struct Ogg {
    /// The state of the pages.
    pub(in crate::decode) pages: Pages,
    /// The Vorbis streams by serial number.
    pub(in crate::decode) vorbis: HashMap<u32, Blocks>,
}

/// The state of all pages of an Ogg file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) enum Pages {
    /// No page is missing or damaged.
    Whole,
    /// No page is missing or damaged, but one stream follows another.
    Chained,
    /// The last page is incomplete, or not marked as the last of its stream.
    Truncated,
    /// A page is missing, or its checksum does not match.
    Damaged {
        /// The time of the page before, in the codec's units (samples for Vorbis).
        time: u64,
    },
}

const MARK: [u8; 4] = *b"OggS";
const HEADER: usize = 27;
const CONTINUED_BEFORE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// The time of a page in which no packet ends.
const NO_TIME: u64 = u64::MAX;

/// Checks all pages of an Ogg file, which is at its start.
pub(in crate::decode) fn check(file: &mut impl BufRead) -> std::io::Result<Ogg> {
    let mut state = State::default();
    let pages = read_pages(file, &mut state)?;
    Ok(Ogg { pages, vorbis: state.vorbis })
}

fn read_pages(file: &mut impl BufRead, state: &mut State) -> std::io::Result<Pages> {
    let mut page = Vec::with_capacity(1 << 16);
    if !skip_to_mark(file)? {
        return Ok(Pages::Truncated);
    }
    loop {
        page.clear();
        if !append(file, HEADER, &mut page)? {
            return Ok(state.at_end(&page));
        }
        if page[..4] != MARK {
            return Ok(state.at_end(&page));
        }
        let segments = usize::from(page[26]);
        let mut whole = append(file, segments, &mut page)?;
        if whole {
            let body = page[HEADER..].iter().map(|&length| usize::from(length)).sum();
            whole = append(file, body, &mut page)?;
        }
        if !whole {
            return Ok(Pages::Truncated);
        }
        if !state.add(&mut page) {
            return Ok(Pages::Damaged { time: state.time });
        }
    }
}

/// The state of the check after some pages.
#[derive(Default)]
struct State {
    /// The number of the last page of each stream, by serial number, and whether that page was marked as the last.
    streams: HashMap<u32, (u32, bool)>,
    vorbis: HashMap<u32, Blocks>,
    has_begun: bool,
    is_chained: bool,
    time: u64,
}

impl State {
    /// Adds a page, and returns whether it is intact and follows the pages before.
    fn add(&mut self, page: &mut [u8]) -> bool {
        let (serial, number) = (u32_at(page, 14), u32_at(page, 18));
        let (version, flags, checksum) = (page[4], page[5], u32_at(page, 22));
        // The checksum is computed with zeros instead of itself.
        page[22..26].fill(0);
        let mut crc = Crc32::new(0);
        crc.process_buf_bytes(page);
        if crc.crc() != checksum || version != 0 || flags > CONTINUED_BEFORE | FIRST | LAST {
            return false;
        }
        let is_first = flags & FIRST != 0;
        if !is_first && self.streams.get(&serial).is_some_and(|&(_, was_last)| was_last) {
            // Pages after the end of a stream are not played.
            self.vorbis.entry(serial).and_modify(|blocks| blocks.page(page));
            return true;
        }
        let follows = match self.streams.get(&serial) {
            Some(&(_, was_last)) if is_first => was_last,
            Some(&(last, _)) => number == last.wrapping_add(1),
            // A stream without its first page is not known to be complete.
            None => is_first,
        };
        self.is_chained |= is_first && self.has_begun;
        self.has_begun |= !is_first;
        self.streams.insert(serial, (number, flags & LAST != 0));
        let time = u64::from(u32_at(page, 6)) | u64::from(u32_at(page, 10)) << 32;
        if follows && is_first && page[HEADER + usize::from(page[26])..].starts_with(b"\x01vorbis") {
            self.vorbis.entry(serial).or_default();
        }
        if follows {
            self.vorbis.entry(serial).and_modify(|blocks| blocks.page(page));
        }
        if follows && time != NO_TIME {
            self.time = time;
        }
        follows
    }

    /// The state of the pages if no further page follows, but the end of the file or `rest`.
    fn at_end(&self, rest: &[u8]) -> Pages {
        let is_over = !self.streams.is_empty() && self.streams.values().all(|&(_, was_last)| was_last);
        match (is_over, MARK.starts_with(&rest[..rest.len().min(4)])) {
            // Tags that other programs append do not belong to the stream.
            (true, false) => self.whole(),
            (true, true) if rest.is_empty() => self.whole(),
            (_, true) => Pages::Truncated,
            (false, false) => Pages::Damaged { time: self.time },
        }
    }

    fn whole(&self) -> Pages {
        if self.is_chained { Pages::Chained } else { Pages::Whole }
    }
}

/// Skips data before the first page, such as tags. Returns whether there is a page.
fn skip_to_mark(file: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        if buffer.starts_with(&MARK) {
            return Ok(true);
        }
        let next = buffer.iter().skip(1).position(|&byte| byte == MARK[0]).map_or(buffer.len(), |index| index + 1);
        file.consume(next);
    }
}

/// Appends the next `count` bytes of `file`, or fewer at the end. Returns whether all were there.
fn append(file: &mut impl BufRead, count: usize, to: &mut Vec<u8>) -> std::io::Result<bool> {
    Ok(file.take(count as u64).read_to_end(to)? == count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(serial: u32, number: u32, flags: u8, time: u64, body: usize) -> Vec<u8> {
        let mut page = MARK.to_vec();
        page.extend([0, flags]);
        page.extend(time.to_le_bytes());
        page.extend([serial, number, 0].iter().flat_map(|number| number.to_le_bytes()));
        page.push(body.div_ceil(255) as u8);
        page.extend((0..body.div_ceil(255)).map(|i| (body - 255 * i).min(255) as u8));
        page.extend((0..body).map(|i| i as u8));
        let mut crc = Crc32::new(0);
        crc.process_buf_bytes(&page);
        page[22..26].copy_from_slice(&crc.crc().to_le_bytes());
        page
    }

    /// Three pages of one stream, of which the second is larger than a reader's buffer.
    fn stream(serial: u32) -> [Vec<u8>; 3] {
        [page(serial, 0, FIRST, 0, 30), page(serial, 1, 0, 1000, 60_000), page(serial, 2, LAST, 2000, 700)]
    }

    fn state(bytes: &[u8]) -> Pages {
        check(&mut std::io::BufReader::new(bytes)).unwrap().pages
    }

    #[test]
    fn only_a_whole_last_page_ends_a_stream() {
        let whole = stream(7).concat();
        assert_eq!(state(&whole), Pages::Whole);
        for cut in [1, 300, 699, 720, 740, 20_000, 60_900, whole.len()] {
            assert_eq!(state(&whole[..whole.len() - cut]), Pages::Truncated, "{cut} bytes are missing");
        }
    }

    #[test]
    fn tags_around_the_pages_are_not_damage() {
        let whole = stream(7).concat();
        assert_eq!(state(&[&b"ID3 Ogg Og"[..], &whole].concat()), Pages::Whole);
        for rest in [&b"T"[..], b"TAG", &[0; 128], b"Ogre, and some more bytes after that"] {
            assert_eq!(state(&[&whole, rest].concat()), Pages::Whole, "{rest:?}");
        }
    }

    #[test]
    fn every_changed_byte_and_every_missing_page_is_detected() {
        let [first, second, third] = stream(7);
        let whole = [&first[..], &second, &third].concat();
        for index in (0..whole.len()).step_by(7).chain(whole.len() - 40..whole.len()) {
            let mut changed = whole.clone();
            changed[index] ^= 0x10;
            assert!(!matches!(state(&changed), Pages::Whole | Pages::Chained), "byte {index}");
        }
        assert_eq!(state(&[&first[..], &third].concat()), Pages::Damaged { time: 0 });
        assert_eq!(state(&[&first[..], &second, &second, &third].concat()), Pages::Damaged { time: 1000 });
        assert_eq!(state(&[&second[..], &third].concat()), Pages::Damaged { time: 0 });
        assert_eq!(state(&[&first[..], &second, &[0; 100], &third].concat()), Pages::Damaged { time: 1000 });
    }

    #[test]
    fn multiplexed_and_chained_streams_are_distinguished() {
        let ([a, b, c], [d, e, f]) = (stream(1), stream(2));
        assert_eq!(state(&[&a[..], &d, &b, &e, &c, &f].concat()), Pages::Whole);
        assert_eq!(state(&[&a[..], &b, &c, &d, &e, &f].concat()), Pages::Chained);
        assert_eq!(state(&[&a[..], &b, &c, &a, &b, &c].concat()), Pages::Chained, "with the same serial number");
        assert_eq!(state(&[&a[..], &b, &c, &d, &e].concat()), Pages::Truncated, "the second without its end");
        assert_eq!(state(&[&a[..], &d, &b, &c, &e].concat()), Pages::Truncated, "one of the two without its end");
    }
}
