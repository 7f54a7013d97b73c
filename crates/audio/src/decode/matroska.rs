//! Matroska and WebM elements (RFC 9559) that symphonia ignores: codec delay and discard padding. Also detects
//! truncated files.

use std::io::{BufRead, BufReader, Read, Seek};

/// What a file states about a track outside its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Layout {
    /// Trim at the start, in nanoseconds.
    pub(super) delay: u64,
    /// The index of the packet to trim at its end, from 0, and the trim in nanoseconds.
    pub(super) discard: Option<(u64, u64)>,
    /// The file ends within an element.
    pub(super) cut_off: bool,
}

/// More bytes than the ID and the size of an element have.
const LONGEST_HEADER: u64 = 13;
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const FLAG_DEFAULT: u32 = 0x88;
const CODEC_DELAY: u32 = 0x56aa;
const CLUSTER: u32 = 0x1f43_b675;
const BLOCK_GROUP: u32 = 0xa0;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;

/// Scans the elements of `file`, from its start to `length` bytes, without reading packets.
pub(super) fn read(file: impl Read + Seek, length: u64, track: u32) -> std::io::Result<Layout> {
    let mut file = BufReader::with_capacity(1 << 12, file);
    let (mut layout, mut position) = (Layout::default(), 0);
    let (mut entry, mut packets, mut is_own) = (None, 0u64, false);
    while position < length {
        let (id, size) = (vint(&mut file, true)?, vint(&mut file, false)?);
        let (Some((id, id_length)), Some((size, size_length))) = (id, size) else {
            layout.cut_off |= length - position < LONGEST_HEADER;
            break;
        };
        position += id_length + size_length;
        // All ones is an unknown size: the element ends where the next of its kind begins.
        let size = (size != (1 << (7 * size_length)) - 1).then_some(size);
        if size.is_some_and(|size| size > length - position) {
            layout.cut_off = true;
        }
        let id = u32::try_from(id).unwrap_or(0);
        // Descend into these elements: their children follow.
        if matches!(id, SEGMENT | TRACKS | TRACK_ENTRY | CLUSTER | BLOCK_GROUP) {
            continue;
        }
        let Some(size) = size.filter(|&size| size <= length - position) else { break };
        let mut body = Vec::new();
        // Of a block, only the header is read.
        let most =
            if matches!(id, TRACK_NUMBER | CODEC_DELAY | DISCARD_PADDING | SIMPLE_BLOCK | BLOCK) { 16 } else { 0 };
        (&mut file).take(size.min(most)).read_to_end(&mut body)?;
        match id {
            TRACK_NUMBER => entry = u32::try_from(unsigned(&body)).ok(),
            CODEC_DELAY if entry == Some(track) => layout.delay = unsigned(&body),
            SIMPLE_BLOCK | BLOCK => {
                let mut rest = &body[..];
                let number = vint(&mut rest, false)?.map(|(number, _)| number);
                is_own = number == Some(track.into());
                // Two bytes of time, flags and, with lacing, the frame count minus one.
                if let (true, &[_, _, flags, ref rest @ ..]) = (is_own, rest) {
                    packets += if flags & 6 == 0 { 1 } else { rest.first().map_or(1, |&count| u64::from(count) + 1) };
                }
            }
            // A negative value trims the start of the block; no known program writes it.
            DISCARD_PADDING if is_own && packets > 0 && body.first().is_some_and(|byte| byte >> 7 == 0) => {
                layout.discard = Some((packets - 1, unsigned(&body)));
            }
            _ => {}
        }
        file.seek_relative((size - body.len() as u64).cast_signed())?;
        position += size;
    }
    Ok(layout)
}

/// The tracks that are not to be played by default. symphonia 0.6.1 takes those without a flag for such, too, and then
/// the first of all.
pub(super) fn not_default(file: impl Read + Seek) -> std::io::Result<Vec<u32>> {
    const MOST_TRACKS: usize = 100;
    let mut file = BufReader::with_capacity(1 << 12, file);
    let (mut entry, mut found) = (0, Vec::new());
    while let (Some((id, _)), Some((size, _))) = (vint(&mut file, true)?, vint(&mut file, false)?) {
        match u32::try_from(id).unwrap_or(0) {
            SEGMENT | TRACKS | TRACK_ENTRY => continue,
            TRACK_NUMBER | FLAG_DEFAULT if size <= 8 => {
                let mut body = Vec::with_capacity(8);
                (&mut file).take(size).read_to_end(&mut body)?;
                match unsigned(&body) {
                    number if id == u64::from(TRACK_NUMBER) => entry = u32::try_from(number).unwrap_or(0),
                    0 => found.push(entry),
                    _ => {}
                }
            }
            CLUSTER => break,
            _ => file.seek_relative(size.cast_signed())?,
        }
        if found.len() == MOST_TRACKS {
            break;
        }
    }
    Ok(found)
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, &byte| (number << 8) | u64::from(byte))
}

/// A variable-size integer (RFC 8794, 4) and its length in bytes, with or without the length marker. `None` at the end
/// and for an invalid one.
fn vint(from: &mut impl BufRead, with_marker: bool) -> std::io::Result<Option<(u64, u64)>> {
    let mut bytes = Vec::with_capacity(8);
    from.take(1).read_to_end(&mut bytes)?;
    let Some(&first) = bytes.first().filter(|&&first| first != 0) else { return Ok(None) };
    let length = u64::from(first.leading_zeros()) + 1;
    from.take(length - 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Ok(None);
    }
    let number = unsigned(&bytes);
    Ok(Some((if with_marker { number } else { number & !(1 << (7 * length)) }, length)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
        [id, &(body.len() as u32 | 1 << 28).to_be_bytes(), body].concat()
    }

    fn file(is_live: bool) -> Vec<u8> {
        let number = |id: &[u8], number: u32| element(id, &number.to_be_bytes());
        let entry = |track, delay| element(b"\xae", &[number(b"\xd7", track), number(b"\x56\xaa", delay)].concat());
        let tracks = element(b"\x16\x54\xae\x6b", &[entry(1, 7), entry(2, 6_500_000)].concat());
        let block = |track: u8, lacing: &[u8]| {
            [&[0x80 | track, 0, 0, if lacing.is_empty() { 0 } else { 2 }], lacing, &[9; 99]].concat()
        };
        let last = [element(b"\xa1", &block(2, &[])), number(b"\x75\xa2", 13_500_000)].concat();
        let cluster = [
            element(b"\xa3", &block(2, &[])),
            element(b"\xa3", &block(1, &[])),
            element(b"\xa3", &block(2, &[3])),
            element(b"\xa0", &last),
        ]
        .concat();
        let content = [tracks, element(b"\x1f\x43\xb6\x75", &cluster)].concat();
        let segment = match is_live {
            true => [b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff", &content[..]].concat(),
            false => element(b"\x18\x53\x80\x67", &content),
        };
        [element(b"\x1a\x45\xdf\xa3", b"anything"), segment].concat()
    }

    #[test]
    fn delay_and_discarded_samples_are_those_of_the_track() {
        for is_live in [false, true] {
            let file = file(is_live);
            let layout = |track| read(Cursor::new(&file), file.len() as u64, track).unwrap();
            let second = Layout { delay: 6_500_000, discard: Some((5, 13_500_000)), cut_off: false };
            assert_eq!(layout(2), second);
            assert_eq!(layout(1), Layout { delay: 7, ..Layout::default() });
            for cut in 1..200 {
                let left = &file[..file.len() - cut];
                assert!(read(Cursor::new(left), left.len() as u64, 2).unwrap().cut_off, "{cut} bytes cut off");
            }
        }
        // Of a segment and clusters of unknown size, only what is cut shows.
        let mut live = file(true);
        let cluster = live.windows(4).position(|id| id == b"\x1f\x43\xb6\x75").unwrap();
        live.splice(cluster + 4..cluster + 8, *b"\x01\xff\xff\xff\xff\xff\xff\xff");
        let group = live.len() - 123;
        assert_eq!(live[group], 0xa0);
        for end in group - 100..=live.len() {
            let found = read(Cursor::new(&live[..end]), end as u64, 2).unwrap();
            assert_eq!(found.cut_off, end != group && end != live.len(), "{end}");
        }
        for junk in [&[0; 100][..], &[0xff; 100], b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67\x01"] {
            read(Cursor::new(junk), junk.len() as u64, 1).unwrap();
        }
    }
}
