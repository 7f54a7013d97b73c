//! Headers for uncompressed samples in the form that symphonia-format-riff 0.6.1 accepts: format chunks of [16, 18 or
//! 40 bytes](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-riff/src/wave/chunks.rs#L76),
//! consistent sizes, 16 bits for `sowt`, and no block size in AIFF.

/// The coding of a sample. Numbers are bytes per sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Unsigned bytes, in WAV and in the AIFF-C codec `raw `.
    Unsigned8,
    Little(u16),
    Big(u16),
    FloatLittle(u16),
    FloatBig(u16),
    ALaw,
    MuLaw,
}

impl Coding {
    /// The number of bytes per sample.
    pub(super) fn bytes(self) -> u16 {
        match self {
            Coding::Unsigned8 | Coding::ALaw | Coding::MuLaw => 1,
            Coding::Little(bytes) | Coding::Big(bytes) | Coding::FloatLittle(bytes) | Coding::FloatBig(bytes) => bytes,
        }
    }
}

/// The largest number of channels that symphonia's WAV and AIFF readers accept: they give each a position.
const POSITIONS: u16 = 26;

/// The AU header for `size` bytes of samples; `None` for a coding that AU lacks. Its channels have no positions.
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
    // All ones mark an unknown size.
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    let numbers = [HEADER, size, encoding, rate, channels.into()];
    Some(match coding {
        Coding::Little(_) | Coding::FloatLittle(_) => {
            [b"dns.".to_vec(), numbers.iter().flat_map(|x| x.to_le_bytes()).collect()].concat()
        }
        _ => [b".snd".to_vec(), numbers.iter().flat_map(|x| x.to_be_bytes()).collect()].concat(),
    })
}

/// The WAV header for `size` bytes of samples, or an AU header for many channels; `None` for a coding that these lack.
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
    // All ones mark an unknown size.
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

/// The AIFF or AIFF-C header for `size` bytes of samples, or an AU header for many channels or bytes; `None` for a
/// coding that these lack. `rate` is the 80-bit field of the file.
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

#[cfg(test)]
mod tests {
    use super::*;

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
