//! MPEG audio as a frame stream: MP1, MP2 and MP3. symphonia-bundle-mp3 0.6.1 takes the [number of
//! frames](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-bundle-mp3/src/demuxer.rs#L438-L449) from the
//! Xing tag, or estimates it from the bit rate, and does not compare it with the stream.

use super::header::FrameHeader;
use super::lame_tag;
use crate::mpeg;

/// The header of an MPEG audio frame.
#[derive(Debug, Clone, Copy)]
pub(in crate::decode::quirks) struct Header {
    bytes: [u8; 4],
    fields: mpeg::FrameHeader,
}

impl Header {
    /// The offset of a Xing tag in a frame without a checksum: after the header and the side information.
    fn tag_at(&self) -> usize {
        let is_mono = self.bytes[3] >> 6 == 3;
        4 + match (self.fields.version, is_mono) {
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
        mpeg::FrameHeader::read(&bytes).map(|fields| Header { bytes, fields })
    }

    fn length(&self) -> u64 {
        self.fields.length().into()
    }

    fn samples(&self) -> u64 {
        self.fields.samples()
    }

    fn is_of_stream(&self, first: &Self) -> bool {
        let key = |it: &Self| (it.fields.version, it.fields.layer, it.fields.rate);
        key(self) == key(first)
    }

    fn constant_length(&self, first: &Self) -> Option<f64> {
        (self.fields.kilobits == first.fields.kilobits).then(|| self.fields.mean_length())
    }

    /// A frame without audio data, checksum or padding.
    fn silence(&self) -> Option<Vec<u8>> {
        let [sync, kind, rates, mode] = self.bytes;
        let header = Header::read(&[sync, kind | 1, rates & !2, mode])?;
        let mut frame = header.bytes.to_vec();
        frame.resize(usize::try_from(header.length()).ok()?, 0);
        Some(frame)
    }

    fn tag(&self, frame: &[u8]) -> Option<lame_tag::Tag> {
        if self.fields.layer != 3 {
            return None;
        }
        lame_tag::read(frame, self.tag_at())
    }

    fn unsupported(&self) -> Option<String> {
        None
    }
}
