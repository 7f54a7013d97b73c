//! Headers for uncompressed samples in the form that symphonia 0.6.1 accepts: format chunks of 16, 18 or 40 bytes,
//! consistent sizes, 16 bits for `sowt`, and no block size in AIFF.

/// The coding of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Unsigned bytes, in WAV and in AIFC's `raw `.
    Unsigned8,
    Little(u16),
    Big(u16),
    FloatLittle(u16),
    FloatBig(u16),
    ALaw,
    MuLaw,
}

impl Coding {
    /// Bytes per sample.
    pub(super) fn bytes(self) -> u16 {
        match self {
            Coding::Unsigned8 | Coding::ALaw | Coding::MuLaw => 1,
            Coding::Little(bytes) | Coding::Big(bytes) | Coding::FloatLittle(bytes) | Coding::FloatBig(bytes) => bytes,
        }
    }
}

/// The most channels of WAV and AIFF that symphonia 0.6.1 takes: it gives each a position.
const POSITIONS: u16 = 26;

/// A header of AU, whose channels have no positions, for `size` bytes of samples; `None` for a coding that AU lacks.
fn au(coding: Coding, channels: u16, rate: u32, size: u64) -> Option<Vec<u8>> {
    const HEADER: u32 = 24;
    let encoding: u32 = match coding {
        Coding::MuLaw => 1,
        Coding::Big(1) => 2,
        Coding::Big(bytes @ 2..=4) | Coding::Little(bytes @ 2..=4) => u32::from(bytes) + 1,
        Coding::FloatBig(4) | Coding::FloatLittle(4) => 6,
        Coding::FloatBig(8) | Coding::FloatLittle(8) => 7,
        Coding::ALaw => 27,
        _ => return None,
    };
    // All ones marks an unknown size.
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let numbers = [HEADER, size, encoding, rate, channels.into()];
    Some(match coding {
        Coding::Little(_) | Coding::FloatLittle(_) => {
            [b"dns.".to_vec(), numbers.iter().flat_map(|x| x.to_le_bytes()).collect()].concat()
        }
        _ => [b".snd".to_vec(), numbers.iter().flat_map(|x| x.to_be_bytes()).collect()].concat(),
    })
}

/// A header of WAV, or of AU for many channels, for `size` bytes of samples; `None` for a coding that these lack.
pub(super) fn wav(coding: Coding, channels: u16, rate: u32, size: u64) -> Option<Vec<u8>> {
    if channels > POSITIONS {
        return au(coding, channels, rate, size);
    }
    let (tag, bytes): (u16, u16) = match coding {
        Coding::Unsigned8 => (1, 1),
        Coding::Little(bytes) => (1, bytes),
        Coding::FloatLittle(bytes) => (3, bytes),
        Coding::ALaw => (6, 1),
        Coding::MuLaw => (7, 1),
        Coding::Big(_) | Coding::FloatBig(_) => return None,
    };
    let frame = bytes.checked_mul(channels)?;
    let extended = matches!(coding, Coding::ALaw | Coding::MuLaw);
    let format_size = if extended { 18u32 } else { 16 };
    // All ones marks an unknown size.
    let size = u32::try_from(size).ok().filter(|&size| size < u32::MAX - 64).unwrap_or(u32::MAX);
    let mut header = b"RIFF".to_vec();
    header.extend(size.saturating_add(20 + format_size).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(format_size.to_le_bytes());
    header.extend([tag, channels].iter().flat_map(|x| x.to_le_bytes()));
    header.extend([rate, rate.wrapping_mul(u32::from(frame))].iter().flat_map(|x| x.to_le_bytes()));
    header.extend([frame, 8 * bytes].iter().flat_map(|x| x.to_le_bytes()));
    if extended {
        header.extend([0, 0]);
    }
    header.extend(b"data");
    header.extend(size.to_le_bytes());
    Some(header)
}

/// A header of AIFF or AIFC, or of AU for many channels or bytes, for `size` bytes of samples; `None` for a coding that
/// these lack. `rate` is the file's own 80-bit field.
pub(super) fn aiff(coding: Coding, channels: u16, rate: [u8; 10], size: u64) -> Option<Vec<u8>> {
    if channels > POSITIONS || size >= u64::from(u32::MAX - 64) {
        return au(coding, channels, whole_rate(rate)?, size);
    }
    let compression: Option<&[u8; 4]> = match coding {
        Coding::Big(_) => None,
        Coding::Unsigned8 => Some(b"raw "),
        Coding::FloatBig(4) => Some(b"fl32"),
        Coding::FloatBig(8) => Some(b"fl64"),
        Coding::ALaw => Some(b"alaw"),
        Coding::MuLaw => Some(b"ulaw"),
        Coding::Little(_) | Coding::FloatLittle(_) | Coding::FloatBig(_) => return None,
    };
    let bits = match coding {
        Coding::ALaw | Coding::MuLaw => 16,
        _ => 8 * coding.bytes(),
    };
    let size = u32::try_from(size).ok().filter(|&size| size < u32::MAX - 64)?;
    let frames = size / u32::from(coding.bytes().checked_mul(channels).filter(|&frame| frame > 0)?);
    let mut common = channels.to_be_bytes().to_vec();
    common.extend(frames.to_be_bytes());
    common.extend(bits.to_be_bytes());
    common.extend(rate);
    // An empty compression name with padding.
    common.extend(compression.map_or(Vec::new(), |kind| [&kind[..], &[0, 0]].concat()));
    let mut header = b"FORM".to_vec();
    header.extend((4 + 8 + common.len() as u32 + 16 + size).to_be_bytes());
    header.extend(if compression.is_some() { b"AIFC" } else { b"AIFF" });
    header.extend(b"COMM");
    header.extend((common.len() as u32).to_be_bytes());
    header.extend(common);
    header.extend(b"SSND");
    header.extend((size + 8).to_be_bytes());
    header.extend([0; 8]);
    Some(header)
}

/// The integer part of an 80-bit sample rate: sign and exponent, then a 64-bit mantissa with one integer bit.
pub(super) fn whole_rate(rate: [u8; 10]) -> Option<u32> {
    let exponent = u16::from_be_bytes([rate[0], rate[1]]).checked_sub(16_383).filter(|&exponent| exponent < 32)?;
    let mantissa = u64::from_be_bytes(rate[2..].try_into().ok()?);
    u32::try_from(mantissa >> (63 - exponent)).ok()
}

/// The size of the samples, and a note about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes of samples in the file.
    pub(super) bytes: u64,
    /// Bytes that the header states, if the file is truncated.
    pub(super) announced: Option<u64>,
    pub(super) note: Option<String>,
}

/// Reconciles three sizes of the samples: `stated` by their own chunk; `form`, the end of the file according to its
/// first header, if that is possible; and `available`, the bytes in the file from `start`, where the samples begin.
///
/// A chunk and a form that agree with each other and exceed the file mean that the file is truncated. A form that ends
/// with the file, or was never written, means a recorder that did not update its header: the samples then extend to the
/// end of the file, as in libsndfile and FFmpeg.
pub(super) fn extent(stated: u64, form: Option<u64>, start: u64, available: u64, is_empty: bool) -> Extent {
    /// Sizes that writers use for an unknown length: the largest unsigned or signed number, minus a header and the rest
    /// of an incomplete frame.
    const UNKNOWN: [std::ops::RangeInclusive<u64>; 2] = [0x7fff_0000..=0x8000_0000, 0xffff_0000..=0xffff_ffff];
    const WRAP: u64 = 1 << 32;
    let all = |note: String| Extent { bytes: available, announced: None, note: Some(note) };
    let end = start + available;
    if stated == 0 && available > 0 && !is_empty {
        return all("the header states no samples: read to the end of the file".to_string());
    }
    let is_whole = form.is_some_and(|form| form == end);
    if !is_whole && UNKNOWN.iter().any(|unknown| unknown.contains(&stated)) {
        return Extent { bytes: available, announced: None, note: None };
    }
    // A 32-bit size of a longer file, which counts from 0 again, and so does the size of the whole.
    let wrapped = |size: u64| stated < WRAP && size < available && (available - size) % WRAP <= 1;
    let form_wraps = form.is_some_and(|form| form < end && (end - form) % WRAP <= 1);
    if !is_whole && (wrapped(stated) || stated < WRAP && available >= WRAP && form_wraps) {
        let bytes = stated + (available - stated.min(available)) / WRAP * WRAP;
        let note = "the file is longer than its 32-bit sizes can state: read to the end of the file".to_string();
        return Extent { bytes, announced: None, note: Some(note) };
    }
    if stated <= available {
        return Extent { bytes: stated, announced: None, note: None };
    }
    match form {
        Some(form) if form > end => Extent { bytes: available, announced: Some(stated), note: None },
        _ => all(format!(
            "the header states {} more bytes of samples than the file has, but its other size matches the file or was \
             never written: read to the end of the file",
            stated - available
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_agree_with_each_other_are_those_of_a_file_that_was_cut_off() {
        let bytes = |stated, form| {
            let found = extent(stated, form, 44, 1000, false);
            (found.bytes, found.announced, found.note.is_some())
        };
        // Consistent sizes, with a wrong form.
        for form in [Some(1044), Some(0), Some(36), None, Some(1_000_000)] {
            assert_eq!(bytes(1000, form), (1000, None, false));
            assert_eq!(bytes(900, form), (900, None, false));
        }
        for more in [1, 4, 63, 400, 1_000_000] {
            assert_eq!(bytes(1000 + more, Some(1044 + more)), (1000, Some(1000 + more), false), "{more}");
            // A chunk after the samples.
            assert_eq!(bytes(1000 + more, Some(1200 + more)), (1000, Some(1000 + more), false), "{more}");
            for form in [Some(1044), Some(1043), Some(8), Some(44), None] {
                assert_eq!(bytes(1000 + more, form), (1000, None, true), "{more}");
            }
        }
        assert_eq!(bytes(0, Some(44)), (1000, None, true));
        assert_eq!(extent(0, Some(44), 44, 1000, true).bytes, 0, "chunks follow");
        assert_eq!(extent(0, Some(44), 44, 0, false), Extent { bytes: 0, announced: None, note: None });
        for unknown in [u64::from(u32::MAX), 0x7fff_f000, 0x7fff_ffff, 0xffff_ffdb] {
            assert_eq!(bytes(unknown, Some(unknown + 36)), (1000, None, false), "{unknown:x}");
        }
    }

    #[test]
    fn files_of_gigabytes_are_not_shorter_than_32_bits_can_state() {
        const GIB: u64 = 1 << 30;
        let bytes = |stated, form, available| {
            let found = extent(stated, form, 44, available, false);
            (found.bytes, found.note.is_some())
        };
        for unknown in [0xffff_ffff, 0xffff_f000, 0x7fff_f000] {
            for form in [None, Some(unknown + 36), Some(0)] {
                assert_eq!(bytes(unknown, form, 5 * GIB), (5 * GIB, false), "{unknown:x}");
            }
            // A size that is that large, of a file that agrees.
            assert_eq!(bytes(unknown, Some(44 + unknown + 100), unknown + 100), (unknown, false));
        }
        for more in [4, 8] {
            assert_eq!(bytes(GIB, Some(44 + GIB), (more + 1) * GIB), ((more + 1) * GIB, true), "{more}");
            let tags = (more + 1) * GIB + 5000;
            assert_eq!(bytes(GIB, Some(44 + GIB + 5000), tags), ((more + 1) * GIB, true), "chunks follow");
            assert_eq!(bytes(GIB, Some(44 + tags), tags), (GIB, false), "other chunks of gigabytes follow");
        }
    }

    #[test]
    fn more_channels_than_positions_are_presented_as_au() {
        assert_eq!(wav(Coding::Little(2), 26, 48_000, 104).unwrap()[..4], *b"RIFF");
        let header = wav(Coding::Little(2), 27, 48_000, 108).unwrap();
        let numbers: Vec<u32> = header[4..].chunks(4).map(|x| u32::from_le_bytes(x.try_into().unwrap())).collect();
        assert_eq!((&header[..4], &numbers[..]), (&b"dns."[..], &[24, 108, 3, 48_000, 27][..]));
        let header = aiff(Coding::Big(3), 2, *b"\x40\x0e\xac\x44\0\0\0\0\0\0", 6 << 30).unwrap();
        assert_eq!(header[..16], *b".snd\0\0\0\x18\xff\xff\xff\xff\0\0\0\x04");
    }
}
