//! Detection of HE-AAC. symphonia-codec-aac 0.6.1 refuses it only [if the configuration signals
//! SBR](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-codec-aac/src/aac/mod.rs#L90-L97), and otherwise
//! decodes the core at half the rate without an error ([#480](https://github.com/pdeljanov/Symphonia/issues/480)). SBR
//! is signalled as the object type or in an extension of the configuration (ISO/IEC 14496-3, 1.6.5), or only by
//! payloads in the frames.

/// The kind of AAC that a configuration signals.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::decode) enum Config {
    /// AAC-LC, or HE-AAC if the frames hold SBR.
    Plain,
    /// AAC-LC, explicitly without SBR.
    WithoutSbr,
    /// Another kind, with its name.
    Other(String),
}

/// The name of a stream whose SBR is not signalled in its configuration.
pub(in crate::decode) const IMPLICIT: &str = "HE-AAC (SBR, and perhaps PS, signalled in its frames)";

/// Parses an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1). The decoder rejects a truncated one.
pub(in crate::decode) fn read_config(config: &[u8]) -> Config {
    read(&mut Bits::new(config)).unwrap_or(Config::Plain)
}

fn read(bits: &mut Bits<'_>) -> Option<Config> {
    let other = |name: &str| Some(Config::Other(name.to_string()));
    let object = object_type(bits)?;
    rate(bits)?;
    bits.take(4)?;
    match object {
        2 => {}
        5 => return other("HE-AAC (SBR)"),
        29 => return other("HE-AAC v2 (SBR and PS)"),
        1 => return other("AAC Main"),
        3 => return other("AAC SSR"),
        4 => return other("AAC LTP"),
        23 => return other("AAC-LD"),
        39 => return other("AAC-ELD"),
        42 => return other("xHE-AAC (USAC)"),
        object => return Some(Config::Other(format!("MPEG-4 audio of object type {object}"))),
    }
    if bits.take(1)? == 1 {
        return other("AAC with frames of 960 samples");
    }
    // Extensions begin with sync words, after fields whose length depends on the channels.
    while bits.left() >= 16 {
        if bits.peek(11)? != 0x2b7 {
            bits.take(1)?;
            continue;
        }
        bits.take(11)?;
        let extension = object_type(bits)?;
        if extension != 5 && extension != 22 {
            continue;
        }
        if bits.take(1)? == 0 {
            return Some(Config::WithoutSbr);
        }
        rate(bits)?;
        let has_ps = bits.left() >= 12 && bits.take(11)? == 0x548 && bits.take(1)? == 1;
        return other(if has_ps { "HE-AAC v2 (SBR and PS)" } else { "HE-AAC (SBR)" });
    }
    Some(Config::Plain)
}

/// Reads an audio object type.
fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        object => Some(object),
    }
}

/// Skips a sample rate.
fn rate(bits: &mut Bits<'_>) -> Option<()> {
    if bits.take(4)? == 15 {
        bits.take(24)?;
    }
    Some(())
}

/// Whether the packets of an AAC-LC stream hold SBR: at least three quarters of the distinct packets must, because
/// other data in a single packet can look like SBR.
pub(in crate::decode) fn have_sbr<'a>(packets: impl Iterator<Item = &'a [u8]>) -> bool {
    let packets: std::collections::HashSet<&[u8]> = packets.collect();
    let with_sbr = packets.iter().filter(|packet| has_sbr(packet)).count();
    !packets.is_empty() && 4 * with_sbr >= 3 * packets.len()
}

/// Whether a frame can end in fill elements of which the first holds SBR. Only decoding would find where the elements
/// before them end. Therefore every offset is tried: from the right one, elements lead exactly to the end of the frame.
fn has_sbr(frame: &[u8]) -> bool {
    (0..8 * frame.len()).any(|position| sbr_to_the_end(Bits { bytes: frame, position }).is_some())
}

/// Reads a fill element with SBR and the elements up to the end of the frame; `None` if they are something else.
fn sbr_to_the_end(mut bits: Bits<'_>) -> Option<()> {
    /// The extension types of fill elements with SBR, without and with a CRC (ISO/IEC 14496-3, table 4.121).
    const SBR: [u32; 2] = [13, 14];
    let size = fill_size(&mut bits)?;
    SBR.contains(&bits.peek(4)?).then_some(())?;
    bits.skip(8 * size)?;
    leads_to_the_end(&mut bits).then_some(())
}

/// Reads the header of a fill element, and returns the length of its payload in bytes.
fn fill_size(bits: &mut Bits<'_>) -> Option<usize> {
    const FILL: u32 = 6;
    if bits.take(3)? != FILL {
        return None;
    }
    let size = match bits.take(4)? {
        15 => 14 + bits.take(8)?,
        size => size,
    };
    Some(size as usize)
}

/// Whether only fill and data stream elements follow until the end of the frame.
fn leads_to_the_end(bits: &mut Bits<'_>) -> bool {
    const DATA: u32 = 4;
    const END: u32 = 7;
    loop {
        let next = match bits.peek(3) {
            Some(END) => return (bits.position + 3).div_ceil(8) == bits.bytes.len(),
            Some(DATA) => data_size(bits),
            _ => fill_size(bits),
        };
        if next.and_then(|size| bits.skip(8 * size)).is_none() {
            return false;
        }
    }
}

/// Reads the header of a data stream element, and returns the length of its payload in bytes.
fn data_size(bits: &mut Bits<'_>) -> Option<usize> {
    bits.take(7)?;
    let is_aligned = bits.take(1)? == 1;
    let size = match bits.take(8)? {
        255 => 255 + bits.take(8)?,
        size => size,
    };
    if is_aligned {
        bits.position = bits.position.next_multiple_of(8);
    }
    Some(size as usize)
}

/// A bit reader, most significant bit first.
struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, position: 0 }
    }

    fn left(&self) -> usize {
        (8 * self.bytes.len()).saturating_sub(self.position)
    }

    fn peek(&self, count: usize) -> Option<u32> {
        (self.left() >= count).then(|| {
            let bit = |position: usize| u32::from(self.bytes[position / 8] >> (7 - position % 8) & 1);
            (self.position..self.position + count).fold(0, |value, position| value << 1 | bit(position))
        })
    }

    fn take(&mut self, count: usize) -> Option<u32> {
        let value = self.peek(count)?;
        self.position += count;
        Some(value)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        (self.left() >= count).then(|| self.position += count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs strings of bits into bytes.
    fn bits(text: &str) -> Vec<u8> {
        let bits: Vec<u8> = text.bytes().filter(|x| *x != b' ').map(|x| x - b'0').collect();
        bits.chunks(8).map(|chunk| chunk.iter().enumerate().map(|(i, bit)| bit << (7 - i)).sum()).collect()
    }

    #[test]
    fn every_way_to_signal_sbr_in_a_configuration_is_detected() {
        let named = |text: &str| match read_config(&bits(text)) {
            Config::Other(name) => name,
            other => format!("{other:?}"),
        };
        // Object type, rate index, channels, and the AAC-LC flags.
        assert_eq!(named("00010 0100 0010 000"), "Plain");
        assert_eq!(named("00010 1111 000000001010110001000100 0010 000"), "Plain");
        assert_eq!(named("00101 0111 0010 0100 00010 000"), "HE-AAC (SBR)");
        assert_eq!(named("11101 0111 0001 0100 00010 000"), "HE-AAC v2 (SBR and PS)");
        // Sync word 0x2b7, object type, SBR flag, rate index.
        assert_eq!(named("00010 0111 0010 000 01010110111 00101 1 0100"), "HE-AAC (SBR)");
        assert_eq!(named("00010 0111 0010 000 01010110111 00101 1 1111 000000001010110001000100"), "HE-AAC (SBR)");
        assert_eq!(named("00010 0111 0010 000 01010110111 00101 0"), "WithoutSbr");
        // Sync word 0x548 and the PS flag.
        assert_eq!(named("00010 0111 0001 000 01010110111 00101 1 0100 10101001000 1"), "HE-AAC v2 (SBR and PS)");
        assert_eq!(named("00010 0111 0001 000 01010110111 00101 1 0100 10101001000 0"), "HE-AAC (SBR)");
        assert_eq!(named("00010 0100 0010 100"), "AAC with frames of 960 samples");
        assert_eq!(named("11111 001010 0100 0010"), "xHE-AAC (USAC)");
        assert_eq!(named("00001 0100 0010 000"), "AAC Main");
        for text in ["", "00010", "00010 0100 0010"] {
            assert_eq!(named(text), "Plain", "left to the decoder");
        }
    }

    /// A frame of `audio` pseudorandom bits, a fill element of `size` bytes with an extension type, and the end.
    fn frame(seed: u32, audio: usize, fill: Option<(usize, u32)>) -> Vec<u8> {
        let mut state = seed;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 31
        };
        let mut text: String = (0..audio).map(|_| if random() == 1 { '1' } else { '0' }).collect();
        if let Some((size, extension)) = fill {
            text += "110";
            text += &if size < 15 { format!("{size:04b}") } else { format!("1111{:08b}", size - 14) };
            text += &format!("{extension:04b}");
            text.extend((4..8 * size).map(|_| if random() == 1 { '1' } else { '0' }));
        }
        text += "111";
        bits(&text)
    }

    #[test]
    fn sbr_in_frames_is_detected_and_audio_is_not_mistaken_for_it() {
        let is_in = |fill: fn(usize) -> Option<(usize, u32)>| {
            let frames: Vec<Vec<u8>> = (0..32).map(|i| frame(i as u32 * 7919 + 3, 1000 + 37 * i, fill(i))).collect();
            have_sbr(frames.iter().map(Vec::as_slice))
        };
        assert!(is_in(|i| Some((5 + i, 13))));
        assert!(is_in(|i| Some((5 + i, 14))));
        assert!(is_in(|i| Some((200 + i, 13))));
        assert!(!is_in(|_| None));
        assert!(!is_in(|i| Some((5 + i, 0))), "padding");
        assert!(!is_in(|i| Some((5 + i, if i % 2 == 0 { 13 } else { 0 }))), "some");
        assert!(!have_sbr(std::iter::empty()));
        for length in 0..4 {
            has_sbr(&vec![0xd7; length]);
        }
    }
}
