//! The end of a truncated MP4 file. symphonia-format-isomp4 0.6.1 drops the whole `mdat` box of a file that ends within
//! it, instead of only the samples that are missing; presented with a longer file, it reads up to the end of the real
//! one.

use std::io::{Read, Seek};

use crate::decode::mp4_box::{BoxHeader, MAX_BOXES};

/// The length of an MP4 file that ends within its `mdat` box, as the box states it; `length`, the real one, for other
/// files.
pub(super) fn stated_length(file: &mut (impl Read + Seek), length: u64) -> std::io::Result<u64> {
    let mut end = 0u64;
    for number in 0..MAX_BOXES {
        let Some(BoxHeader { kind, size, .. }) = BoxHeader::read(file, end)? else { break };
        if number == 0 && &kind != b"ftyp" {
            break;
        }
        // A box of size zero extends to the end of the file.
        let Some(next) = size.filter(|&size| size >= 8).and_then(|size| end.checked_add(size)) else { break };
        if next > length {
            // Seeking takes signed numbers.
            return Ok(if &kind == b"mdat" && next < 1 << 62 { next } else { length });
        }
        end = next;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn length(boxes: &[(u32, &[u8; 4])], bytes: usize) -> u64 {
        let mut file = Vec::new();
        for (size, kind) in boxes {
            let start = file.len();
            file.extend(size.to_be_bytes());
            file.extend(*kind);
            file.resize(start + (*size as usize).clamp(8, 5000), 0);
        }
        file.resize(bytes, 0);
        stated_length(&mut Cursor::new(&file), bytes as u64).unwrap()
    }

    #[test]
    fn only_a_truncated_mdat_box_makes_a_file_longer() {
        assert_eq!(length(&[(20, b"ftyp"), (100, b"moov"), (1000, b"mdat")], 1120), 1120);
        assert_eq!(length(&[(20, b"ftyp"), (100, b"moov"), (1000, b"mdat")], 500), 1120);
        assert_eq!(length(&[(20, b"ftyp"), (100, b"moov"), (4_000_000_000, b"mdat")], 500), 4_000_000_120);
        for boxes in [
            [(20, b"ftyp"), (10_000, b"moov"), (100, b"mdat")],
            [(20, b"RIFF"), (100, b"moov"), (10_000, b"mdat")],
            [(20, b"ftyp"), (7, b"moov"), (10_000, b"mdat")],
            [(20, b"ftyp"), (0, b"mdat"), (10_000, b"mdat")],
            [(20, b"ftyp"), (100, b"mdat"), (10_000, b"TAG\0")],
        ] {
            assert_eq!(length(&boxes, 600), 600, "{boxes:?}");
        }
        for bytes in 0..20 {
            assert_eq!(length(&[(20, b"ftyp")], bytes), bytes as u64);
        }
    }
}
