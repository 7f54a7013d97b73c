//! Integrity of Ogg pages. symphonia 0.6.1 drops damaged pages and treats a truncated file as a shorter one, both
//! without an error.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor;

use super::vorbis_blocks::Blocks;

/// The result of checking an Ogg file.
#[derive(Debug)]
pub(crate) struct Ogg {
    pub(crate) pages: Pages,
    /// Vorbis streams by serial number.
    pub(crate) vorbis: HashMap<u32, Blocks>,
}

/// The state of all pages of an Ogg file (RFC 3533).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Every page is there and as it was written.
    Whole,
    /// So they are, but one stream follows another.
    Chained,
    /// The last page is incomplete, or not marked as the last of its stream.
    CutOff,
    /// A page is missing, or does not have its checksum.
    Damaged {
        /// The time of the page before it, in the codec's units: samples, for Vorbis.
        time: u64,
    },
}

const MARK: [u8; 4] = *b"OggS";
const HEADER: usize = 27;
const CONTINUED_BEFORE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// What the page's time is when no packet ends in it.
const NO_TIME: u64 = u64::MAX;

/// Reads an Ogg file from its start.
pub(crate) fn check(file: &mut impl BufRead) -> std::io::Result<Ogg> {
    let mut state = State::default();
    let pages = read_pages(file, &mut state)?;
    Ok(Ogg { pages, vorbis: state.vorbis })
}

fn read_pages(file: &mut impl BufRead, state: &mut State) -> std::io::Result<Pages> {
    let mut page = Vec::with_capacity(1 << 16);
    if !skip_to_mark(file)? {
        return Ok(Pages::CutOff);
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
            return Ok(Pages::CutOff);
        }
        if !state.takes(&mut page) {
            return Ok(Pages::Damaged { time: state.time });
        }
    }
}

#[derive(Default)]
struct State {
    /// Of each stream by its serial number, the number of its last page and whether that was marked as the last.
    streams: HashMap<u32, (u32, bool)>,
    vorbis: HashMap<u32, Blocks>,
    has_begun: bool,
    is_chained: bool,
    time: u64,
}

impl State {
    /// Whether a page follows those before it.
    fn takes(&mut self, page: &mut [u8]) -> bool {
        let (serial, number) = (u32_at(page, 14), u32_at(page, 18));
        let (version, flags, checksum) = (page[4], page[5], u32_at(page, 22));
        // The checksum is that of the page with zeros in its place.
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
            // What is not known to begin is not known to be whole.
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

    /// What no page follows: the end, or `rest`.
    fn at_end(&self, rest: &[u8]) -> Pages {
        let is_over = !self.streams.is_empty() && self.streams.values().all(|&(_, was_last)| was_last);
        match (is_over, MARK.starts_with(&rest[..rest.len().min(4)])) {
            // Tags that other programs put behind the last page are no part of it.
            (true, false) => self.whole(),
            (true, true) if rest.is_empty() => self.whole(),
            (_, true) => Pages::CutOff,
            (false, false) => Pages::Damaged { time: self.time },
        }
    }

    fn whole(&self) -> Pages {
        if self.is_chained { Pages::Chained } else { Pages::Whole }
    }
}

/// Leaves out what is before the first page, such as tags. Says whether there is one.
fn skip_to_mark(file: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        let buffer = file.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        if buffer.starts_with(&MARK) {
            return Ok(true);
        }
        let next = buffer.iter().skip(1).position(|&byte| byte == MARK[0]).map_or(buffer.len(), |place| place + 1);
        file.consume(next);
    }
}

/// Appends the next `count` bytes, or those that are left. Says whether they were enough.
fn append(file: &mut impl BufRead, count: usize, to: &mut Vec<u8>) -> std::io::Result<bool> {
    Ok(file.take(count as u64).read_to_end(to)? == count)
}

fn u32_at(page: &[u8], place: usize) -> u32 {
    u32::from_le_bytes([page[place], page[place + 1], page[place + 2], page[place + 3]])
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

    /// Three pages of one stream, the second larger than a buffer of a reader.
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
            assert_eq!(state(&whole[..whole.len() - cut]), Pages::CutOff, "{cut} bytes cut off");
        }
    }

    #[test]
    fn what_other_programs_put_around_the_pages_is_no_damage() {
        let whole = stream(7).concat();
        assert_eq!(state(&[&b"ID3 Ogg Og"[..], &whole].concat()), Pages::Whole);
        for rest in [&b"T"[..], b"TAG", &[0; 128], b"Ogre, and some more bytes after that"] {
            assert_eq!(state(&[&whole, rest].concat()), Pages::Whole, "{rest:?}");
        }
    }

    #[test]
    fn any_byte_that_changes_and_any_page_that_is_missing_is_noticed() {
        let [first, second, third] = stream(7);
        let whole = [&first[..], &second, &third].concat();
        for place in (0..whole.len()).step_by(7).chain(whole.len() - 40..whole.len()) {
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            assert!(!matches!(state(&changed), Pages::Whole | Pages::Chained), "byte {place}");
        }
        assert_eq!(state(&[&first[..], &third].concat()), Pages::Damaged { time: 0 });
        assert_eq!(state(&[&first[..], &second, &second, &third].concat()), Pages::Damaged { time: 1000 });
        assert_eq!(state(&[&second[..], &third].concat()), Pages::Damaged { time: 0 });
        assert_eq!(state(&[&first[..], &second, &[0; 100], &third].concat()), Pages::Damaged { time: 1000 });
    }

    #[test]
    fn streams_side_by_side_are_told_from_streams_one_after_another() {
        let ([a, b, c], [d, e, f]) = (stream(1), stream(2));
        assert_eq!(state(&[&a[..], &d, &b, &e, &c, &f].concat()), Pages::Whole);
        assert_eq!(state(&[&a[..], &b, &c, &d, &e, &f].concat()), Pages::Chained);
        assert_eq!(state(&[&a[..], &b, &c, &a, &b, &c].concat()), Pages::Chained, "of the same number");
        assert_eq!(state(&[&a[..], &b, &c, &d, &e].concat()), Pages::CutOff, "the second without its end");
        assert_eq!(state(&[&a[..], &d, &b, &c, &e].concat()), Pages::CutOff, "one of the two without its end");
    }
}
