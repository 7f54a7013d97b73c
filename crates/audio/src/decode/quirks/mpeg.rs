//! Headers of MPEG audio frames (ISO/IEC 11172-3, 2.4.1.3).

use super::frames::FrameHeader;
use super::lame_tag;

/// The fields of a frame header, from its first four bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    bytes: [u8; 4],
    /// 0 is MPEG 1, 1 is MPEG 2 and 2 is MPEG 2.5.
    version: usize,
    layer: usize,
    kilobits: u32,
    rate: u32,
}

/// Bit rates in kbit/s: MPEG 1 layers I to III, MPEG 2 layer I, MPEG 2 layers II and III.
const KILOBITS: [[u32; 15]; 5] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

impl Header {
    /// Bytes per frame for each kbit/s and kHz, without padding, and bytes of a padding slot.
    fn factor(&self) -> (u32, usize) {
        match (self.layer, self.version) {
            (1, _) => (12, 4),
            (3, 1 | 2) => (72, 1),
            _ => (144, 1),
        }
    }

    fn is_mono(&self) -> bool {
        self.bytes[3] >> 6 == 3
    }

    /// The offset of a Xing tag: after the header and side information, with or without a checksum.
    pub(super) fn tag_at(&self) -> usize {
        4 + match (self.version, self.is_mono()) {
            (0, false) => 32,
            (0, true) | (_, false) => 17,
            (_, true) => 9,
        }
    }
}

impl FrameHeader for Header {
    const SIZE: usize = 4;

    fn read(bytes: &[u8]) -> Option<Self> {
        let &bytes = bytes.first_chunk::<4>()?;
        let version = match (bytes[0], bytes[1] >> 3) {
            (0xff, 0b11111) => 0,
            (0xff, 0b11110) => 1,
            (0xff, 0b11100) => 2,
            _ => return None,
        };
        let layer = 4 - usize::from((bytes[1] >> 1) & 3);
        let table = if version == 0 { layer } else { 3 + layer.min(2) };
        let kilobits = *KILOBITS.get(table.wrapping_sub(1))?.get(usize::from(bytes[2] >> 4))?;
        let rate = *[44_100, 48_000, 32_000].get(usize::from((bytes[2] >> 2) & 3))? >> version;
        (layer <= 3 && kilobits > 0).then_some(Header { bytes, version, layer, kilobits, rate })
    }

    fn length(&self) -> u64 {
        let (factor, slot) = self.factor();
        let slots = factor * self.kilobits * 1000 / self.rate + u32::from((self.bytes[2] >> 1) & 1);
        u64::from(slots) * slot as u64
    }

    fn samples(&self) -> u64 {
        match (self.layer, self.version) {
            (1, _) => 384,
            (3, 1 | 2) => 576,
            _ => 1152,
        }
    }

    fn is_of_stream(&self, first: &Self) -> bool {
        (self.version, self.layer, self.rate) == (first.version, first.layer, first.rate)
    }

    fn constant_length(&self, first: &Self) -> Option<f64> {
        let (factor, slot) = self.factor();
        let length = f64::from(factor * self.kilobits * 1000) / f64::from(self.rate) * slot as f64;
        (self.kilobits == first.kilobits).then_some(length)
    }

    /// A frame without audio data, checksum or padding.
    fn silence(&self) -> Option<Vec<u8>> {
        let [sync, kind, rates, mode] = self.bytes;
        let header = Header { bytes: [sync, kind | 1, rates & !2, mode], ..*self };
        let mut frame = header.bytes.to_vec();
        frame.resize(usize::try_from(header.length()).ok()?, 0);
        Some(frame)
    }

    fn tag(&self, frame: &[u8]) -> Option<lame_tag::Tag> {
        if self.layer != 3 {
            return None;
        }
        lame_tag::read(frame, self.tag_at())
    }

    fn refused(&self) -> Option<String> {
        None
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
            let header = Header::read(&bytes).unwrap();
            assert_eq!((header.length(), header.samples(), header.rate), (length, samples, rate), "{bytes:x?}");
        }
        for bytes in [[0xff, 0xfb, 0xf0, 0], [0xff, 0xfb, 0x9c, 0], [0xff, 0xf9, 0x90, 0], [0xff, 0xeb, 0x90, 0]] {
            assert!(Header::read(&bytes).is_none(), "{bytes:x?}");
        }
    }
}
