//! WAV as recorders and workstations write it, RF64, BW64 and W64 (EBU Tech 3306, ITU-R BS.2088, Sony Wave64).
//! symphonia 0.6.1 supports none of the last three, and rejects chunks beyond the size in the first header, which many
//! programs never write.

use std::fs::File;

use super::layout::{Layout, bytes_at};
use super::media::Piece;
use super::pcm_header::{self, Coding};

/// The chunk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Four-byte names and 32-bit sizes.
    Riff,
    /// Sixteen-byte GUIDs and 64-bit sizes, which include the chunk header.
    W64,
}

/// The GUID at the start of a W64 file.
pub(super) const W64_RIFF: [u8; 16] = *b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0";
/// The end of a W64 chunk's GUID, after its four letters.
const W64_TAIL: [u8; 12] = *b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a";
/// A 32-bit size that is unknown or in the `ds64` chunk.
const ELSEWHERE: u64 = u32::MAX as u64;

struct Chunk {
    name: [u8; 4],
    body: u64,
    size: u64,
}

impl Kind {
    fn first_chunk(self) -> u64 {
        match self {
            Kind::Riff => 12,
            Kind::W64 => 40,
        }
    }

    /// Reads the chunk header at `place`; `None` if its name is not printable.
    fn chunk(self, file: &mut File, place: u64) -> std::io::Result<Option<Chunk>> {
        let header = bytes_at(file, place, if self == Kind::W64 { 24 } else { 8 })?;
        let Some(&name) = header.first_chunk::<4>().filter(|name| name.iter().all(|x| (0x20..0x7f).contains(x))) else {
            return Ok(None);
        };
        let body = place + header.len() as u64;
        Ok(match self {
            Kind::Riff if header.len() == 8 => Some(Chunk { name, body, size: u64::from(u32_at(&header, 4)) }),
            Kind::W64 if header.len() == 24 && header[4..16] == W64_TAIL => {
                let size = u64_at(&header, 16);
                size.checked_sub(24).filter(|&size| size < 1 << 62).map(|size| Chunk { name, body, size })
            }
            _ => None,
        })
    }

    /// The offset of the next chunk. Some files lack the padding to even sizes.
    fn next(self, file: &mut File, chunk: &Chunk) -> std::io::Result<u64> {
        let end = chunk.body + chunk.size;
        let is_padded = self == Kind::Riff && chunk.size % 2 == 1;
        Ok(match self {
            Kind::W64 => end.next_multiple_of(8),
            Kind::Riff if is_padded && !self.chunk(file, end)?.is_some_and(|next| NAMES.contains(&&next.name)) => {
                end + 1
            }
            Kind::Riff => end,
        })
    }
}

/// Chunk names of audio files. A known name at an odd offset shows that the padding is missing.
const NAMES: [&[u8; 4]; 18] = [
    b"data", b"fmt ", b"fact", b"LIST", b"bext", b"iXML", b"cue ", b"smpl", b"inst", b"JUNK", b"junk", b"PAD ",
    b"PEAK", b"id3 ", b"ID3 ", b"axml", b"acid", b"DISP",
];

/// The layout of a file with uncompressed samples; `None` for other files and invalid headers.
pub(super) fn layout(file: &mut File, start: u64, end: u64, kind: Kind) -> std::io::Result<Option<Layout>> {
    let first = bytes_at(file, start, 24)?;
    let mut form = match kind {
        Kind::Riff => first.get(4..8).map(|_| u64::from(u32_at(&first, 4)) + 8),
        Kind::W64 => first.get(16..24).map(|_| u64_at(&first, 16)),
    };
    let (mut format, mut data, mut size_of_data) = (None, None, None);
    let mut place = start + kind.first_chunk();
    while let Some(chunk) = kind.chunk(file, place)? {
        match &chunk.name {
            b"fmt " => format = Some(bytes_at(file, chunk.body, usize::try_from(chunk.size).unwrap_or(0).min(64))?),
            b"ds64" => {
                let sizes = bytes_at(file, chunk.body, 16)?;
                if sizes.len() == 16 {
                    form = Some(u64_at(&sizes, 0).saturating_add(8));
                    size_of_data = Some(u64_at(&sizes, 8)).filter(|&size| size < 1 << 62);
                }
            }
            b"LIST" if bytes_at(file, chunk.body, 4)? == b"wavl" => {
                let refused = "WAV with a list of pieces of sound (LIST wavl)".to_string();
                return Ok(Some(Layout { refused: Some(refused), ..Layout::default() }));
            }
            b"data" if data.is_none() => {
                data = Some(Chunk { ..chunk });
                if format.is_some() {
                    break;
                }
            }
            _ => {}
        }
        if format.is_some() && data.is_some() {
            break;
        }
        if chunk.size >= end - place.min(end) {
            break;
        }
        place = kind.next(file, &chunk)?;
    }
    let (Some(format), Some(data)) = (format, data) else { return Ok(None) };
    let Some((coding, channels, rate)) = read_format(&format) else {
        let refused = odd_bits(&format).map(|bits| format!("WAV with {bits}"));
        return Ok(refused.map(|refused| Layout { refused: Some(refused), ..Layout::default() }));
    };
    let stated = size_of_data.filter(|_| data.size == ELSEWHERE || data.size == 0).unwrap_or(data.size);
    let available = end.saturating_sub(data.body);
    let form = form.filter(|&form| form > 8 && form != ELSEWHERE + 8).map(|form| form.saturating_add(start));
    // If only chunks follow, there are no samples.
    let is_empty = stated == 0 && only_chunks(file, kind, data.body, end)?;
    let extent = pcm_header::extent(stated, form, data.body, available, is_empty);
    let second = match extent.bytes == stated && second_data(file, kind, &data, end)? {
        true => Some("the file has more than one `data` chunk, of which only the first was read".to_string()),
        false => None,
    };
    let Some(header) = pcm_header::wav(coding, channels, rate, extent.bytes) else { return Ok(None) };
    let frame = u64::from(coding.bytes()) * u64::from(channels);
    Ok(Some(Layout {
        pieces: Some(vec![Piece::Bytes(header), Piece::File { start: data.body, length: extent.bytes }]),
        frames: Some(extent.announced.unwrap_or(extent.bytes) / frame),
        container: Some("wave"),
        cut_off: extent.announced.is_some_and(|announced| announced / frame > extent.bytes / frame),
        notes: extent.note.into_iter().chain(second).collect(),
        ..Layout::default()
    }))
}

/// Whether another `data` chunk with samples follows `data`.
fn second_data(file: &mut File, kind: Kind, data: &Chunk, end: u64) -> std::io::Result<bool> {
    /// Real files have a handful of chunks.
    const MOST: u32 = 1000;
    let mut place = kind.next(file, data)?;
    for _ in 0..MOST {
        let Some(chunk) = kind.chunk(file, place)?.filter(|chunk| chunk.size <= end) else { return Ok(false) };
        if &chunk.name == b"data" {
            return Ok(chunk.size > 0);
        }
        place = kind.next(file, &chunk)?;
    }
    Ok(false)
}

/// What is unusual about the numbers of PCM and floats that are not supported.
fn odd_bits(format: &[u8]) -> Option<String> {
    let number = |place: usize| format.get(place..place + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let (mut tag, channels, bits) = (number(0)?, number(2)?, number(14)?);
    if tag == 0xfffe {
        tag = number(24)?;
    }
    match tag {
        1 if channels > 0 && bits > 32 => Some(format!("integers of {bits} bits")),
        3 if channels > 0 && ![32, 64].contains(&bits) => Some(format!("floats of {bits} bits")),
        _ => None,
    }
}

/// Whether `place` to `end` holds only complete chunks.
fn only_chunks(file: &mut File, kind: Kind, mut place: u64, end: u64) -> std::io::Result<bool> {
    /// Real files have a handful of chunks.
    const MOST: u32 = 1000;
    for _ in 0..MOST {
        // The last chunk may be followed by a byte of padding.
        if place == end || place == end + 1 {
            return Ok(true);
        }
        let Some(chunk) = kind.chunk(file, place)?.filter(|chunk| chunk.size <= end) else { return Ok(false) };
        place = kind.next(file, &chunk)?;
    }
    Ok(false)
}

/// The sample coding, channel count and sample rate of a `fmt ` chunk; `None` if it is compressed or invalid.
fn read_format(format: &[u8]) -> Option<(Coding, u16, u32)> {
    /// The end of a subformat GUID, after the two bytes of its format tag.
    const NUMBERED: [u8; 14] = *b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
    const AMBISONIC: [u8; 14] = *b"\0\0\x21\x07\xd3\x11\x86\x44\xc8\xc1\xca\0\0\0";
    let number = |place: usize| format.get(place..place + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let (mut tag, channels, frame, bits) = (number(0)?, number(2)?, number(12)?, number(14)?);
    let rate = format.get(4..8).map(|_| u32_at(format, 4))?;
    if tag == 0xfffe {
        tag = number(24).filter(|_| format.get(26..40).is_some_and(|tail| tail == NUMBERED || tail == AMBISONIC))?;
    }
    let bytes = (channels > 0 && frame % channels == 0).then(|| frame / channels)?;
    let coding = match (tag, bytes) {
        (1, 1) if (1..=8).contains(&bits) => Coding::Unsigned8,
        // Fewer bits than the container size are the most significant ones.
        (1, 2..=4) if (1..=8 * bytes).contains(&bits) => Coding::Little(bytes),
        (3, 4 | 8) if bits == 8 * bytes => Coding::FloatLittle(bytes),
        (6, 1) => Coding::ALaw,
        (7, 1) => Coding::MuLaw,
        _ => return None,
    };
    Some((coding, channels, rate))
}

fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]])
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from(u32_at(bytes, place)) | u64::from(u32_at(bytes, place + 4)) << 32
}
