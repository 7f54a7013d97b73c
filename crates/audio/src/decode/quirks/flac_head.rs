//! The head of a FLAC file (RFC 9639), reduced to STREAMINFO. symphonia-bundle-flac 0.6.1 [parses every metadata
//! block](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-bundle-flac/src/demuxer.rs#L95-L150) and rejects
//! a file for an invalid cue sheet, picture, comment or seek table, or for a minimum block size of zero
//! ([#554](https://github.com/pdeljanov/Symphonia/issues/554)), none of which decoding needs.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use symphonia::core::checksum::Crc8Ccitt;
use symphonia::core::io::Monitor;

use super::layout::{Layout, bytes_at};
use super::media::Piece;

/// The length of the `fLaC` marker, a metadata block header and STREAMINFO.
const HEAD: usize = 4 + 4 + 34;

/// The layout of the FLAC file from `start` to `end`: a consistent STREAMINFO, then the frames.
pub(super) fn layout(file: &mut File, start: u64, end: u64) -> std::io::Result<Layout> {
    let whole = Layout { pieces: Some(vec![Piece::File { start, length: end - start }]), ..Layout::default() };
    let mut head = bytes_at(file, start, HEAD)?;
    // STREAMINFO must come first.
    if head.len() < HEAD || head[4] & 0x7f != 0 || head[5..8] != [0, 0, 34] {
        return Ok(whole);
    }
    let Some((position, frame)) = first_frame(file, start, end, head[4] >> 7 == 1)? else { return Ok(whole) };
    head[4] |= 0x80;
    let number = |position: usize| u16::from_be_bytes([head[position], head[position + 1]]);
    let (smallest, largest) = (number(8), number(10));
    let (smallest, largest) = match frame {
        // With a fixed block size, only the last frame may differ.
        Frame { is_fixed: true, block } if block <= smallest && smallest == largest => (smallest, largest),
        Frame { is_fixed: true, block } => (block.max(16), block.max(16)),
        // From unequal sizes the reader concludes that frame headers hold sample numbers.
        Frame { block, .. } => (16, if largest > 16 { largest.max(block) } else { u16::MAX }),
    };
    head[8..10].copy_from_slice(&smallest.to_be_bytes());
    head[10..12].copy_from_slice(&largest.to_be_bytes());
    // The minimum and maximum frame size in bytes; zero means unknown.
    if head[12..15] > head[15..18] {
        head[12..18].fill(0);
    }
    let frames = Piece::File { start: position, length: end - position };
    Ok(Layout { pieces: Some(vec![Piece::Bytes(head), frames]), ..Layout::default() })
}

/// The fields of a frame header that STREAMINFO must agree with.
struct Frame {
    /// Whether the header holds a frame number instead of a sample number.
    is_fixed: bool,
    /// The number of samples per channel.
    block: u16,
}

/// The first frame and its offset: after the metadata blocks or, if their sizes are wrong, the first one found from
/// there on.
fn first_frame(file: &mut File, start: u64, end: u64, mut is_last: bool) -> std::io::Result<Option<(u64, Frame)>> {
    let mut position = start + HEAD as u64;
    while !is_last {
        let header = bytes_at(file, position, 4)?;
        let &[kind, a, b, c] = &header[..] else { return Ok(None) };
        let next = position + 4 + u64::from(u32::from_be_bytes([0, a, b, c]));
        // Not a metadata block: the previous size was wrong.
        if kind & 0x7f == 0x7f || kind & 0x7f == 0 || next > end {
            break;
        }
        (position, is_last) = (next, kind >> 7 == 1);
    }
    file.seek(SeekFrom::Start(position))?;
    let mut reader = BufReader::new(file).take(end.saturating_sub(position));
    let mut window = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = reader.read(&mut chunk)?;
        window.extend_from_slice(&chunk[..read]);
        for offset in 0..window.len() {
            // A frame header has at most sixteen bytes.
            if read > 0 && offset + 16 > window.len() {
                position += offset as u64;
                window.drain(..offset);
                break;
            }
            if let Some(frame) = read_frame(&window[offset..]) {
                return Ok(Some((position + offset as u64, frame)));
            }
        }
        if read == 0 {
            return Ok(None);
        }
    }
}

/// Parses the frame header at the start of `bytes` and checks its CRC.
fn read_frame(bytes: &[u8]) -> Option<Frame> {
    let &[0xff, second, sizes, channels, number, ..] = bytes else { return None };
    if second & 0xfe != 0xf8 || channels & 1 == 1 {
        return None;
    }
    // The number is coded like UTF-8: its leading ones are its length in bytes.
    let ones = number.leading_ones() as usize;
    let mut position = 4 + match ones {
        0 => 1,
        2..=7 => ones,
        _ => return None,
    };
    let coded = sizes >> 4;
    let extra = match coded {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    let size = bytes.get(position..position + extra)?;
    let block = match (coded, size) {
        (1, _) => 192,
        (2..=5, _) => 576 << (coded - 2),
        (6, &[size]) => u32::from(size) + 1,
        (7, &[high, low]) => u32::from(u16::from_be_bytes([high, low])) + 1,
        (8..=15, _) => 256 << (coded - 8),
        _ => return None,
    };
    position += extra;
    position += match sizes & 15 {
        12 => 1,
        13 | 14 => 2,
        15 => return None,
        _ => 0,
    };
    let mut crc = Crc8Ccitt::new(0);
    crc.process_buf_bytes(bytes.get(..position)?);
    let block = u16::try_from(block).ok()?;
    (crc.crc() == *bytes.get(position)?).then_some(Frame { is_fixed: second & 1 == 0, block })
}
