//! AAC in ADTS as a frame stream (ISO/IEC 13818-7, 6.2). symphonia-codec-aac 0.6.1 reads the
//! [profile](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-codec-aac/src/adts.rs#L148-L152) but decodes
//! every one as AAC-LC, so that others are refused here.

use super::header::FrameHeader;
use super::lame_tag;

/// The header of an ADTS frame, from its first seven bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::decode::quirks) struct Header {
    profile: u8,
    rate: u32,
    channels: u8,
    length: u64,
}

/// Sample rates in hertz by index.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

impl FrameHeader for Header {
    const SIZE: usize = 7;

    fn read(bytes: &[u8]) -> Option<Self> {
        let &[0xff, sync, kind, a, b, c, _] = bytes.first_chunk::<7>()? else { return None };
        let rate = *RATES.get(usize::from((kind >> 2) & 15))?;
        let length = u64::from(a & 3) << 11 | u64::from(b) << 3 | u64::from(c >> 5);
        let header = if sync & 1 == 0 { 9 } else { 7 };
        (sync & 0xf6 == 0xf0 && length > header).then_some(Header {
            profile: kind >> 6,
            rate,
            channels: (kind & 1) << 2 | a >> 6,
            length,
        })
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn samples(&self) -> u64 {
        1024
    }

    fn is_of_stream(&self, first: &Self) -> bool {
        (self.profile, self.rate, self.channels) == (first.profile, first.rate, first.channels)
    }

    fn constant_length(&self, _: &Self) -> Option<f64> {
        None
    }

    fn silence(&self) -> Option<Vec<u8>> {
        None
    }

    fn tag(&self, _: &[u8]) -> Option<lame_tag::Tag> {
        None
    }

    fn unsupported(&self) -> Option<String> {
        let name = ["AAC Main", "", "AAC SSR", "AAC LTP"].get(usize::from(self.profile)).copied().unwrap_or("");
        (!name.is_empty()).then(|| name.to_string())
    }
}
