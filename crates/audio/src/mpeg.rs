//! The header of an MPEG audio frame (ISO/IEC 11172-3, 2.4.1.3, ISO/IEC 13818-3, and the unofficial version 2.5).
//! Shared by format detection and the scan of frame streams.

/// The fields of a frame header, from its first three bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameHeader {
    /// The MPEG version: 0 is MPEG 1, 1 is MPEG 2 and 2 is MPEG 2.5. Sample rates are halved as many times.
    pub(crate) version: u8,
    /// The layer, 1 to 3.
    pub(crate) layer: u8,
    /// The bit rate in kbit/s.
    pub(crate) kilobits: u32,
    /// The sample rate in hertz.
    pub(crate) rate: u32,
    is_padded: bool,
}

/// Bit rates in kbit/s: MPEG 1 layers I to III, MPEG 2 layer I, MPEG 2 layers II and III. The first is "free", with
/// which the length of a frame is unknown.
const KILOBITS: [[u16; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// Sample rates of MPEG 1 in hertz.
const RATES: [u32; 3] = [44_100, 48_000, 32_000];

impl FrameHeader {
    /// Parses the header at the start of `bytes`; `None` for an invalid one and for a free bit rate.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let &[0xff, kind, rates, ..] = bytes else { return None };
        let version = match kind >> 3 {
            0b11111 => 0,
            0b11110 => 1,
            0b11100 => 2,
            _ => return None,
        };
        let layer = 4 - (kind >> 1 & 3);
        let table = match (version, layer) {
            (0, 1..=3) => layer - 1,
            (_, 1) => 3,
            (_, 2 | 3) => 4,
            _ => return None,
        };
        let kilobits = *KILOBITS[usize::from(table)].get(usize::from(rates >> 4))?;
        let rate = *RATES.get(usize::from(rates >> 2 & 3))? >> version;
        let is_padded = rates >> 1 & 1 == 1;
        (kilobits > 0).then_some(FrameHeader { version, layer, kilobits: kilobits.into(), rate, is_padded })
    }

    /// The length of the frame in bytes, including the header and padding.
    pub(crate) fn length(&self) -> u32 {
        let (factor, slot) = self.factor();
        (factor * self.kilobits * 1000 / self.rate + u32::from(self.is_padded)) * slot
    }

    /// The mean length in bytes of a frame with this bit rate: frames are padded so that a stream keeps to it.
    pub(crate) fn mean_length(&self) -> f64 {
        let (factor, slot) = self.factor();
        f64::from(factor * self.kilobits * 1000) / f64::from(self.rate) * f64::from(slot)
    }

    /// The slots of a frame per kbit/s and kHz, without padding, and the length of a slot in bytes.
    fn factor(&self) -> (u32, u32) {
        match (self.layer, self.version) {
            (1, _) => (12, 4),
            (3, 1 | 2) => (72, 1),
            _ => (144, 1),
        }
    }

    /// The number of samples per channel.
    pub(crate) fn samples(&self) -> u64 {
        match (self.layer, self.version) {
            (1, _) => 384,
            (3, 1 | 2) => 576,
            _ => 1152,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_standard() {
        for (bytes, length, samples, rate) in [
            ([0xff, 0xfb, 0x90, 0x00], 417, 1152, 44_100),
            ([0xff, 0xfb, 0x92, 0x00], 418, 1152, 44_100),
            ([0xff, 0xfb, 0x14, 0x00], 96, 1152, 48_000),
            ([0xff, 0xf3, 0x80, 0xc0], 208, 576, 22_050),
            ([0xff, 0xe3, 0x18, 0xc0], 72, 576, 8000),
            ([0xff, 0xfd, 0xa4, 0x00], 576, 1152, 48_000),
            ([0xff, 0xff, 0xc4, 0x00], 384, 384, 48_000),
        ] {
            let header = FrameHeader::read(&bytes).unwrap();
            assert_eq!((header.length(), header.samples(), header.rate), (length, samples, rate), "{bytes:x?}");
        }
        for bytes in [[0xff, 0xfb, 0xf0, 0], [0xff, 0xfb, 0x9c, 0], [0xff, 0xf9, 0x90, 0], [0xff, 0xeb, 0x90, 0]] {
            assert!(FrameHeader::read(&bytes).is_none(), "{bytes:x?}");
        }
    }
}
