//! WAV as recorders and workstations write it, RF64, BW64 and W64 (EBU Tech 3306, ITU-R BS.2088, Sony Wave64).
//! symphonia-format-riff 0.6.1
//! [reads](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/wave/mod.rs#L30-L33) none of
//! the last three ([#447](https://github.com/pdeljanov/Symphonia/pull/447)), and rejects chunks that exceed the size in
//! the first header, which many programs never write ([#380](https://github.com/pdeljanov/Symphonia/issues/380)).

use std::fs::File;

use super::chunks::{ChunkFormat, u16_at, u32_at, u64_at};
use super::layout::{Layout, bytes_at};
use super::media::Piece;
use super::pcm_header::{self, Coding};
use super::pcm_size;

/// The 32-bit size of a chunk whose size is unknown, or in the `ds64` chunk.
const ELSEWHERE: u64 = u32::MAX as u64;

/// The layout of a file with uncompressed samples; `None` for other files and invalid headers.
pub(super) fn layout(file: &mut File, start: u64, end: u64, chunks: ChunkFormat) -> std::io::Result<Option<Layout>> {
    let first = bytes_at(file, start, 24)?;
    let mut form = match chunks {
        ChunkFormat::W64 => first.get(16..24).map(|_| u64_at(&first, 16)),
        _ => first.get(4..8).map(|_| u64::from(u32_at(&first, 4)) + 8),
    };
    let (mut format, mut data, mut size_of_data) = (None, None, None);
    let mut offset = start + chunks.first_chunk();
    while let Some(chunk) = chunks.chunk(file, offset)? {
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
                return Ok(Some(Layout::unsupported("WAV with a list of audio segments (LIST wavl)".to_string())));
            }
            b"data" if data.is_none() => {
                data = Some(chunk);
                if format.is_some() {
                    break;
                }
            }
            _ => {}
        }
        if format.is_some() && data.is_some() {
            break;
        }
        if chunk.size >= end - offset.min(end) {
            break;
        }
        offset = chunks.next(file, &chunk)?;
    }
    let (Some(format), Some(data)) = (format, data) else { return Ok(None) };
    let Some((coding, channels, rate)) = read_format(&format) else {
        return Ok(unsupported_bits(&format).map(|bits| Layout::unsupported(format!("WAV with {bits}"))));
    };
    let stated = size_of_data.filter(|_| data.size == ELSEWHERE || data.size == 0).unwrap_or(data.size);
    let available = end.saturating_sub(data.body);
    let form = form.filter(|&form| form > 8 && form != ELSEWHERE + 8).map(|form| form.saturating_add(start));
    // If only chunks follow, there are no samples.
    let is_empty = stated == 0 && chunks.only_chunks(file, data.body, end)?;
    let extent = pcm_size::extent(stated, form, data.body, available, is_empty);
    let second = match extent.bytes == stated && chunks.second_data(file, &data, end)? {
        true => Some("the file has more than one `data` chunk, of which only the first was read".to_string()),
        false => None,
    };
    let Some(header) = pcm_header::wav(coding, channels, rate, extent.bytes) else { return Ok(None) };
    let frame = u64::from(coding.bytes()) * u64::from(channels);
    Ok(Some(Layout {
        pieces: Some(vec![Piece::Bytes(header), Piece::File { start: data.body, length: extent.bytes }]),
        frames: Some(extent.announced.unwrap_or(extent.bytes) / frame),
        container: Some("wave"),
        is_truncated: extent.announced.is_some_and(|announced| announced / frame > extent.bytes / frame),
        notes: extent.note.into_iter().chain(second).collect(),
        ..Layout::default()
    }))
}

/// The kind of samples that is not supported, by their number of bits.
fn unsupported_bits(format: &[u8]) -> Option<String> {
    let u16_at = |offset| u16_at(format, offset);
    let (mut tag, channels, bits) = (u16_at(0)?, u16_at(2)?, u16_at(14)?);
    if tag == 0xfffe {
        tag = u16_at(24)?;
    }
    match tag {
        1 if channels > 0 && bits > 32 => Some(format!("integers of {bits} bits")),
        3 if channels > 0 && ![32, 64].contains(&bits) => Some(format!("floats of {bits} bits")),
        _ => None,
    }
}

/// The sample coding, channel count and sample rate of a `fmt ` chunk; `None` if it is compressed or invalid.
fn read_format(format: &[u8]) -> Option<(Coding, u16, u32)> {
    /// The end of the GUID of a subformat, after the two bytes of the format tag.
    const NUMBERED: [u8; 14] = *b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71";
    /// The end of the GUID of an Ambisonic B-format subformat.
    const AMBISONIC: [u8; 14] = *b"\0\0\x21\x07\xd3\x11\x86\x44\xc8\xc1\xca\0\0\0";
    let u16_at = |offset| u16_at(format, offset);
    let (mut tag, channels, frame, bits) = (u16_at(0)?, u16_at(2)?, u16_at(12)?, u16_at(14)?);
    let rate = format.get(4..8).map(|_| u32_at(format, 4))?;
    if tag == 0xfffe {
        tag = u16_at(24).filter(|_| format.get(26..40).is_some_and(|tail| tail == NUMBERED || tail == AMBISONIC))?;
    }
    let bytes = (channels > 0 && frame % channels == 0).then(|| frame / channels)?;
    let coding = match (tag, bytes) {
        (1, 1) if (1..=8).contains(&bits) => Coding::Unsigned8,
        // If there are fewer bits than bytes hold, they are the most significant ones.
        (1, 2..=4) if (1..=8 * bytes).contains(&bits) => Coding::Little(bytes),
        (3, 4 | 8) if bits == 8 * bytes => Coding::FloatLittle(bytes),
        (6, 1) => Coding::ALaw,
        (7, 1) => Coding::MuLaw,
        _ => return None,
    };
    Some((coding, channels, rate))
}
