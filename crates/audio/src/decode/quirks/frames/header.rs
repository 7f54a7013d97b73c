//! The interface between the scan of a frame stream and the headers of each codec: what has to be known of a frame to
//! count it, because symphonia-bundle-mp3 and symphonia-codec-aac 0.6.1 drop invalid ones without an error (`mod.rs`).

use super::lame_tag;

/// The header of a frame in a stream without a container.
pub(in crate::decode::quirks) trait FrameHeader: Sized + Copy {
    /// The number of bytes that [`FrameHeader::read`] needs.
    const SIZE: usize;

    /// Parses the header at the start of `bytes`.
    fn read(bytes: &[u8]) -> Option<Self>;
    /// The length of the frame in bytes, including the header.
    fn length(&self) -> u64;
    /// The number of samples per channel.
    fn samples(&self) -> u64;
    /// Whether the frame can belong to the same stream as `first`.
    fn is_of_stream(&self, first: &Self) -> bool;
    /// The mean length of a frame in bytes, if the bit rate equals that of `first`.
    fn constant_length(&self, first: &Self) -> Option<f64>;
    /// A silent frame with this header.
    fn silence(&self) -> Option<Vec<u8>>;
    /// The Xing or LAME tag in the frame, which then holds no audio.
    fn tag(&self, frame: &[u8]) -> Option<lame_tag::Tag>;
    /// The name of the codec, if the stream cannot be decoded.
    fn unsupported(&self) -> Option<String>;
}
