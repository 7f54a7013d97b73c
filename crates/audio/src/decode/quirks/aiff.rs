//! AIFF and AIFF-C files that symphonia-format-riff 0.6.1 rejects: wrong sizes
//! ([#523](https://github.com/pdeljanov/Symphonia/pull/523)), a compression name or an odd chunk without padding, a
//! [block size](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/aiff/chunks.rs#L321), and
//! little-endian samples of [other than 16
//! bits](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/aiff/chunks.rs#L138-L142). It
//! [reads all chunks](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/aiff/mod.rs#L110)
//! before the samples, and therefore rejects truncated files as well.

use std::fs::File;

use super::chunks::ChunkFormat;
use super::layout::{Layout, bytes_at};
use super::media::Piece;
use super::pcm_header::{self, Coding, whole_rate};
use super::pcm_size;

/// The layout of a file with uncompressed samples; `None` for other files and invalid headers.
pub(super) fn layout(file: &mut File, start: u64, end: u64, is_aifc: bool) -> std::io::Result<Option<Layout>> {
    let first = bytes_at(file, start, 12)?;
    let form = first.get(4..8).map(|_| u64::from(u32_at(&first, 4)) + 8);
    let (mut common, mut sound) = (None, None);
    let mut offset = start + ChunkFormat::Iff.first_chunk();
    // Chunks may come in any order.
    while let Some(found) = ChunkFormat::Iff.chunk(file, offset)? {
        match &found.name {
            b"COMM" => common = Some(bytes_at(file, found.body, usize::try_from(found.size).unwrap_or(0).min(64))?),
            b"SSND" => sound = Some((found.body, found.size)),
            _ => {}
        }
        if common.is_some() && sound.is_some() || found.size >= end - offset.min(end) {
            break;
        }
        offset = ChunkFormat::Iff.next(file, &found)?;
    }
    let (Some(common), Some((body, size))) = (common, sound) else { return Ok(None) };
    let Some((coding, channels, frames, rate)) = read_common(&common, is_aifc) else {
        let codec = common.get(18..22).filter(|_| is_aifc);
        return Ok(codec.map(|codec| Layout::unsupported(format!("AIFF-C with {}", codec_name(codec)))));
    };
    let head = bytes_at(file, body, 8)?;
    if head.len() < 8 {
        return Ok(None);
    }
    // The offset of the first sample and a block size, which no known program uses.
    let body = body.saturating_add(8).saturating_add(u64::from(u32_at(&head, 0)));
    let available = end.saturating_sub(body);
    let stated = size.saturating_sub(8 + u64::from(u32_at(&head, 0)));
    let form = form.filter(|&form| form > 8 && form != u64::from(u32::MAX) + 8).map(|form| form.saturating_add(start));
    let is_empty = frames == 0 && size == 8 && ChunkFormat::Iff.only_chunks(file, body, end)?;
    let mut extent = pcm_size::extent(stated, form, body, available, is_empty);
    let frame = u64::from(coding.bytes()) * u64::from(channels);
    // A number of frames that matches the file outweighs a wrong size.
    if extent.announced.is_some() && frames * frame <= extent.bytes {
        extent.announced = None;
        extent.note =
            Some("a size in the header exceeds the file, which has all frames that the header states".to_string());
    }
    let header = pcm_header::aiff(coding, channels, rate, extent.bytes);
    let header = header.or_else(|| pcm_header::wav(coding, channels, whole_rate(rate)?, extent.bytes));
    let Some(header) = header else { return Ok(None) };
    Ok(Some(Layout {
        pieces: Some(vec![Piece::Bytes(header), Piece::File { start: body, length: extent.bytes }]),
        frames: Some(extent.announced.unwrap_or(extent.bytes) / frame),
        container: Some("aiff"),
        is_truncated: extent.announced.is_some_and(|announced| announced / frame > extent.bytes / frame),
        notes: extent.note.into_iter().collect(),
        ..Layout::default()
    }))
}

/// The common name of a codec that is not supported.
fn codec_name(codec: &[u8]) -> String {
    let name = match codec {
        b"ima4" => "IMA4 ADPCM",
        b"MAC3" | b"MAC6" => "MACE",
        b"agsm" | b"GSM " => "GSM 6.10",
        b"G722" => "G.722 ADPCM",
        b"G726" => "G.726 ADPCM",
        b"QDMC" | b"QDM2" => "QDesign Music",
        b"Qclp" => "Qualcomm PureVoice",
        b"dwvw" | b"DWVW" => "DWVW",
        _ => return format!("the codec `{}`", codec.escape_ascii()),
    };
    name.to_string()
}

/// The sample coding, channel count, frame count and sample rate (80-bit float) of a `COMM` chunk; `None` if the codec
/// is not supported or the chunk is invalid.
fn read_common(common: &[u8], is_aifc: bool) -> Option<(Coding, u16, u64, [u8; 10])> {
    let &[a, b, c, d, e, f, g, h, ..] = common else { return None };
    let (channels, bits) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([g, h]));
    let frames = u64::from(u32::from_be_bytes([c, d, e, f]));
    let rate: [u8; 10] = common.get(8..18)?.try_into().ok()?;
    let bytes = bits.div_ceil(8);
    let compression = match is_aifc {
        true => common.get(18..22)?.try_into().ok()?,
        false => *b"NONE",
    };
    let integer = (1..=4).contains(&bytes);
    let coding = match &compression.map(|byte: u8| byte.to_ascii_lowercase()) {
        b"none" | b"twos" if integer => Coding::Big(bytes),
        b"in16" => Coding::Big(2),
        b"in24" => Coding::Big(3),
        b"in32" => Coding::Big(4),
        b"sowt" if bytes == 1 => Coding::Big(1),
        b"sowt" if (2..=4).contains(&bytes) => Coding::Little(bytes),
        b"42n1" | b"42ni" => Coding::Little(3),
        b"23ni" => Coding::Little(4),
        b"raw " if bytes == 1 => Coding::Unsigned8,
        b"fl32" => Coding::FloatBig(4),
        b"fl64" => Coding::FloatBig(8),
        b"alaw" => Coding::ALaw,
        b"ulaw" => Coding::MuLaw,
        _ => return None,
    };
    (channels > 0).then_some((coding, channels, frames, rate))
}

/// The big-endian number at `offset`, which must be there.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (rate, bytes) in [
            (44_100, *b"\x40\x0e\xac\x44\0\0\0\0\0\0"),
            (8000, *b"\x40\x0b\xfa\0\0\0\0\0\0\0"),
            (1, *b"\x3f\xff\x80\0\0\0\0\0\0\0"),
        ] {
            assert_eq!(whole_rate(bytes), Some(rate));
        }
        assert_eq!(whole_rate([0xff; 10]), None);
    }
}
