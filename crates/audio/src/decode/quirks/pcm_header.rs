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

/// A WAV header for `size` bytes of samples; `None` for a coding that WAV lacks.
pub(super) fn wav(coding: Coding, channels: u16, rate: u32, size: u64) -> Option<Vec<u8>> {
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

/// An AIFF or AIFC header for `size` bytes of samples; `None` for a coding that these lack. `rate` is the file's own
/// 80-bit field.
pub(super) fn aiff(coding: Coding, channels: u16, rate: [u8; 10], size: u64) -> Option<Vec<u8>> {
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
    let all = |note: String| Extent { bytes: available, announced: None, note: Some(note) };
    let end = start + available;
    if stated == 0 && available > 0 && !is_empty {
        return all("the header states no samples: read to the end of the file".to_string());
    }
    if stated <= available {
        return Extent { bytes: stated, announced: None, note: None };
    }
    if UNKNOWN.iter().any(|unknown| unknown.contains(&stated)) {
        return Extent { bytes: available, announced: None, note: None };
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
}
