//! Detection of frame streams, which have no file header: MPEG audio, ADTS and AC-3. Any data can look like a frame
//! header by chance, so that several consecutive frames must agree.

use crate::mpeg;

/// The codec of a run of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// MPEG audio of layer 1, 2 or 3.
    Mpeg { layer: u8 },
    /// AAC in ADTS.
    Adts,
    /// AC-3 or E-AC-3.
    Ac3,
}

/// The header of a frame, as far as detection needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    stream: Stream,
    /// The fields that all frames of a stream share, such as version and sample rate.
    common: u32,
    length: usize,
}

/// The number of consecutive frames required, if there are enough bytes.
const RUN: usize = 4;

/// The codec of the frames at the start of `head`, possibly after zeros: a longer run than [`find`] requires, or one to
/// the end of the file. `is_whole` states that the file ends with `head`.
pub(super) fn starts(head: &[u8], is_whole: bool) -> Option<Stream> {
    const LONG_RUN: usize = 8;
    let mut offset = head.iter().position(|&byte| byte != 0)?;
    let first = header(&head[offset..])?;
    for count in 0..LONG_RUN {
        match head.get(offset..) {
            // At high bit rates a frame is longer than an eighth of `head`.
            None if !is_whole && count >= RUN => return Some(first.stream),
            // The last frame of a file may be cut off.
            None | Some([]) if is_whole && count >= 2 => return Some(first.stream),
            Some([b'T', b'A', b'G', ..] | [b'A', b'P', b'E', b'T', ..]) if count >= 2 => return Some(first.stream),
            Some(rest) if rest.len() < 8 && !rest.is_empty() && count >= RUN => return Some(first.stream),
            rest => {
                let next = header(rest?).filter(|next| (next.stream, next.common) == (first.stream, first.common))?;
                offset += next.length;
            }
        }
    }
    Some(first.stream)
}

/// The codec of the first run of frames in `head`, which may begin with junk.
pub(super) fn find(head: &[u8]) -> Option<Stream> {
    (0..head.len().saturating_sub(1)).find_map(|start| {
        let first = header(&head[start..])?;
        let mut offset = start + first.length;
        // These bytes also mark UTF-16, where one header is not enough.
        if head.starts_with(&[0xff, 0xfe]) && offset >= head.len() {
            return None;
        }
        for _ in 1..RUN {
            match head.get(offset..) {
                // Only a run at the start of a file may be cut short by its end.
                None | Some([]) if start == 0 => return Some(first.stream),
                None | Some([]) => return None,
                Some(rest) if rest.len() < 8 && start == 0 => return Some(first.stream),
                Some(rest) => {
                    let next =
                        header(rest).filter(|next| (next.stream, next.common) == (first.stream, first.common))?;
                    offset += next.length;
                }
            }
        }
        Some(first.stream)
    })
}

/// Parses the header at the start of `bytes`.
fn header(bytes: &[u8]) -> Option<Header> {
    match bytes {
        [0xff, b, ..] if b & 0xf6 == 0xf0 => adts(bytes),
        [0xff, b, ..] if b & 0xe0 == 0xe0 => mpeg(bytes),
        [0x0b, 0x77, ..] => ac3(bytes),
        _ => None,
    }
}

/// Parses the header of an MPEG audio frame.
fn mpeg(bytes: &[u8]) -> Option<Header> {
    let &[_, kind, rates, ..] = bytes else { return None };
    let header = mpeg::FrameHeader::read(bytes)?;
    let common = u32::from(kind & 0xfe) << 8 | u32::from(rates & 0x0c);
    Some(Header { stream: Stream::Mpeg { layer: header.layer }, common, length: header.length() as usize })
}

/// Parses the header of an ADTS frame (ISO/IEC 13818-7, 6.2).
fn adts(bytes: &[u8]) -> Option<Header> {
    let &[_, b, c, d, e, f, ..] = bytes else { return None };
    let length = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5);
    let is_valid = (c >> 2) & 15 < 13 && length >= 7;
    let common = u32::from(b & 0xfe) << 8 | u32::from(c & 0xfc);
    is_valid.then_some(Header { stream: Stream::Adts, common, length })
}

/// Parses the header of an AC-3 or E-AC-3 frame (ETSI TS 102 366, 4.3.1 and E.1.2).
fn ac3(bytes: &[u8]) -> Option<Header> {
    const KBITS: [u32; 19] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];
    let &[_, _, c, d, e, f, ..] = bytes else { return None };
    let identification = f >> 3;
    if identification > 10 {
        let length = 2 * (usize::from(c & 7) << 8 | usize::from(d)) + 2;
        return (identification <= 16 && length > 6).then_some(Header { stream: Stream::Ac3, common: 1, length });
    }
    let bits = *KBITS.get(usize::from(e & 63) / 2)?;
    let words = match e >> 6 {
        0 => 2 * bits,
        1 => 320 * bits / 147 + u32::from(e & 1),
        2 => 3 * bits,
        _ => return None,
    };
    Some(Header { stream: Stream::Ac3, common: u32::from(e >> 6), length: 2 * words as usize })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_of_matching_frames_is_a_stream() {
        // 32 kbit/s, 48 kHz, stereo: 96 bytes.
        let frame = [&[0xff, 0xfb, 0x14, 0x00][..], &[0; 92]].concat();
        let mp3 = Some(Stream::Mpeg { layer: 3 });
        assert_eq!(find(&frame.repeat(5)), mp3);
        assert_eq!(find(&frame.repeat(2)), mp3, "a short file");
        assert_eq!(find(&frame[..50]), mp3, "a truncated file");
        assert_eq!(find(&[&[7; 999][..], &frame.repeat(5)].concat()), mp3, "after junk");
        for junk in [&[7; 999][..], &frame, &frame[..90]] {
            assert_eq!(find(&[junk, &[1; 500], &frame.repeat(3), &[9; 500]].concat()), None, "a run of three");
        }
        // Files that are not named as audio.
        for (count, is_whole, expected) in [(8, false, mp3), (7, false, None), (2, true, mp3), (1, true, None)] {
            let next = [0x55; 50];
            let next = if is_whole { &[] } else { &next[..] };
            assert_eq!(starts(&[&frame.repeat(count)[..], next].concat(), is_whole), expected, "{count} frames");
        }
        assert_eq!(starts(&[&[0; 99][..], &frame.repeat(9)].concat(), false), mp3, "after zeros");
        assert_eq!(starts(&[&[7; 99][..], &frame.repeat(9)].concat(), false), None, "after junk");
        let text: Vec<u8> = "\u{feff}Lyrics".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!((find(&text), starts(&text, true)), (None, None));
        let mut other = frame.clone();
        other[2] ^= 4;
        assert_eq!(find(&[&frame[..], &other, &frame, &other].concat()), None, "rates that change");
        let adts = [&[0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc][..], &[0; 9]].concat();
        assert_eq!(find(&adts.repeat(4)), Some(Stream::Adts));
        for layer in 1..=3 {
            let header = [0xff, 0xf9 | (4 - layer) << 1, 0x14, 0];
            let length = [48, 96, 96][usize::from(layer) - 1];
            let stream =
                [&header[..], &vec![0; length * if layer == 1 { 32 } else { 1 } / if layer == 1 { 48 } else { 1 } - 4]]
                    .concat();
            assert_eq!(find(&stream), Some(Stream::Mpeg { layer }), "layer {layer}");
        }
    }
}
