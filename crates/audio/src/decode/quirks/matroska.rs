//! Trims, default tracks and truncation of Matroska and WebM files (RFC 9559). symphonia-format-mkv 0.6.1 reads
//! [`CodecDelay`](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-mkv/src/segment.rs#L424-L427) and
//! [`DiscardPadding`](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-mkv/src/segment.rs#L1185-L1188)
//! but trims nothing, and takes tracks [without
//! `FlagDefault`](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-mkv/src/segment.rs#L466-L471),
//! whose default is 1, for ones that are not the default. A file that ends within an element is only a shorter one to
//! it.

use std::io::{BufRead, BufReader, Read, Seek};

/// The trims of a track, which a file states outside the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::decode) struct Trims {
    /// The trim at the start in nanoseconds.
    pub(in crate::decode) delay: u64,
    /// The index of the packet to trim at its end, and the trim in nanoseconds.
    pub(in crate::decode) discard: Option<(u64, u64)>,
    /// Whether the file ends within an element.
    pub(in crate::decode) is_truncated: bool,
}

/// Whether `file` is Matroska or WebM, by its first bytes.
pub(in crate::decode) fn is_matroska(file: &mut (impl Read + Seek)) -> std::io::Result<bool> {
    let mut mark = Vec::with_capacity(4);
    file.rewind()?;
    file.take(4).read_to_end(&mut mark)?;
    Ok(mark == b"\x1aE\xdf\xa3")
}

/// A limit above the length in bytes of the ID and the size of an element.
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

/// Reads the trims of the track with the number `track` from a file of `length` bytes, without reading packets.
pub(in crate::decode) fn read_trims(file: impl Read + Seek, length: u64, track: u32) -> std::io::Result<Trims> {
    let mut file = BufReader::with_capacity(1 << 12, file);
    let (mut trims, mut position) = (Trims::default(), 0);
    let (mut entry, mut packets, mut is_own) = (None, 0u64, false);
    while position < length {
        let (id, size) = (vint(&mut file, true)?, vint(&mut file, false)?);
        let (Some((id, id_length)), Some((size, size_length))) = (id, size) else {
            trims.is_truncated |= length - position < LONGEST_HEADER;
            break;
        };
        position += id_length + size_length;
        // All ones mark an unknown size: the element ends where the next of its kind begins.
        let size = (size != (1 << (7 * size_length)) - 1).then_some(size);
        if size.is_some_and(|size| size > length - position) {
            trims.is_truncated = true;
        }
        let id = u32::try_from(id).unwrap_or(0);
        // Descend into these elements: their children follow.
        if matches!(id, SEGMENT | TRACKS | TRACK_ENTRY | CLUSTER | BLOCK_GROUP) {
            continue;
        }
        let Some(size) = size.filter(|&size| size <= length - position) else { break };
        let mut body = Vec::new();
        // A block is read only up to its header.
        let most =
            if matches!(id, TRACK_NUMBER | CODEC_DELAY | DISCARD_PADDING | SIMPLE_BLOCK | BLOCK) { 16 } else { 0 };
        (&mut file).take(size.min(most)).read_to_end(&mut body)?;
        match id {
            TRACK_NUMBER => entry = u32::try_from(unsigned(&body)).ok(),
            CODEC_DELAY if entry == Some(track) => trims.delay = unsigned(&body),
            SIMPLE_BLOCK | BLOCK => {
                let mut rest = &body[..];
                let number = vint(&mut rest, false)?.map(|(number, _)| number);
                is_own = number == Some(track.into());
                // Two bytes of time, flags and, with lacing, the number of frames minus one.
                if let (true, &[_, _, flags, ref rest @ ..]) = (is_own, rest) {
                    packets += if flags & 6 == 0 { 1 } else { rest.first().map_or(1, |&count| u64::from(count) + 1) };
                }
            }
            // A negative value trims the start of the block; no known program writes it.
            DISCARD_PADDING if is_own && packets > 0 && body.first().is_some_and(|byte| byte >> 7 == 0) => {
                trims.discard = Some((packets - 1, unsigned(&body)));
            }
            _ => {}
        }
        file.seek_relative((size - body.len() as u64).cast_signed())?;
        position += size;
    }
    Ok(trims)
}

/// The numbers of the tracks that are flagged as not the default.
pub(in crate::decode) fn not_default(file: impl Read + Seek) -> std::io::Result<Vec<u32>> {
    const MAX_TRACKS: usize = 100;
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
        if found.len() == MAX_TRACKS {
            break;
        }
    }
    Ok(found)
}

/// The big-endian number in up to eight bytes.
fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, &byte| (number << 8) | u64::from(byte))
}

/// Reads a variable-size integer (RFC 8794, 4) with or without its length marker, and returns it and its length in
/// bytes; `None` at the end of the file and for an invalid one.
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
    fn trims_are_those_of_the_track() {
        for is_live in [false, true] {
            let file = file(is_live);
            let trims = |track| read_trims(Cursor::new(&file), file.len() as u64, track).unwrap();
            let second = Trims { delay: 6_500_000, discard: Some((5, 13_500_000)), is_truncated: false };
            assert_eq!(trims(2), second);
            assert_eq!(trims(1), Trims { delay: 7, ..Trims::default() });
            for cut in 1..200 {
                let left = &file[..file.len() - cut];
                assert!(
                    read_trims(Cursor::new(left), left.len() as u64, 2).unwrap().is_truncated,
                    "{cut} bytes are missing"
                );
            }
        }
        // With a segment and clusters of unknown size, only a cut within an element shows.
        let mut live = file(true);
        let cluster = live.windows(4).position(|id| id == b"\x1f\x43\xb6\x75").unwrap();
        live.splice(cluster + 4..cluster + 8, *b"\x01\xff\xff\xff\xff\xff\xff\xff");
        let group = live.len() - 123;
        assert_eq!(live[group], 0xa0);
        for end in group - 100..=live.len() {
            let found = read_trims(Cursor::new(&live[..end]), end as u64, 2).unwrap();
            assert_eq!(found.is_truncated, end != group && end != live.len(), "{end}");
        }
        for junk in [&[0; 100][..], &[0xff; 100], b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67\x01"] {
            read_trims(Cursor::new(junk), junk.len() as u64, 1).unwrap();
        }
    }
}
