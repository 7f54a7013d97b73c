//! A decoder for Opus (RFC 6716). symphonia reads its containers but lacks
//! [the codec](https://github.com/pdeljanov/Symphonia/issues/8);
//! [libopus, translated to Rust](https://github.com/DCNick3/unsafe-libopus), decodes all streams of a packet and orders
//! the channels (RFC 7845, 5.1.1).

use std::ptr::NonNull;

use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;
use unsafe_libopus::{
    OpusMSDecoder, opus_multistream_decode_float, opus_multistream_decoder_create, opus_multistream_decoder_destroy,
};

use crate::AudioError;
use crate::decode::planes::{PacketDecoder, PlanarDecoder, Planes};

/// The decoder's output rate in hertz, whatever the rate of the encoder's input.
const RATE: u32 = 48_000;

/// The longest packet, 120 ms, in samples per channel.
const LONGEST: usize = 5760;

/// The identification header (RFC 7845, 5.1).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    channels: usize,
    /// The number of samples to trim from the start.
    pub(super) pre_skip: u16,
    /// The linear gain of the samples.
    gain: f32,
    streams: usize,
    coupled: usize,
    /// The decoded channel for each output channel; 255 is silence.
    mapping: Vec<u8>,
}

impl Head {
    /// Parses the header in `data`, which begins with `OpusHead`; in MP4 (version 0) its numbers are big-endian.
    /// Without `data`, returns the header of a single stream of `channels`.
    ///
    /// # Errors
    /// [`AudioError::UnknownCodec`] for a header that is damaged or not supported.
    pub(super) fn read(data: Option<&[u8]>, channels: usize) -> crate::Result<Self> {
        let Some(rest) = data.and_then(|data| data.strip_prefix(b"OpusHead")) else {
            let head =
                Head { channels, pre_skip: 0, gain: 1.0, streams: 1, coupled: channels / 2, mapping: vec![0, 1] };
            return if matches!(channels, 1 | 2) { Ok(head) } else { Err(damaged_header()) };
        };
        let &[version, channels, skip_0, skip_1, _, _, _, _, gain_0, gain_1, family, ref table @ ..] = rest else {
            return Err(damaged_header());
        };
        let number = |a, b| if version == 0 { u16::from_be_bytes([a, b]) } else { u16::from_le_bytes([a, b]) };
        // In 1/256 dB.
        let gain = f64::from(number(gain_0, gain_1).cast_signed()) / 256.0;
        let channels = usize::from(channels);
        let (streams, coupled, mapping) = match (family, channels, table) {
            (0, 1 | 2, _) => (1, channels - 1, vec![0, 1]),
            (1 | 255, 1.., &[streams, coupled, ref mapping @ ..]) if mapping.len() >= channels => {
                (usize::from(streams), usize::from(coupled), mapping[..channels].to_vec())
            }
            (2 | 3, ..) => return Err(AudioError::unknown_codec("Opus with ambisonics")),
            _ => return Err(damaged_header()),
        };
        let is_known = |&index: &u8| index == 255 || usize::from(index) < streams + coupled;
        if streams == 0 || coupled > streams || !mapping[..channels].iter().all(is_known) {
            return Err(damaged_header());
        }
        let gain = if gain == 0.0 { 1.0 } else { 10f64.powf(gain / 20.0) as f32 };
        Ok(Head { channels, pre_skip: number(skip_0, skip_1), gain, streams, coupled, mapping })
    }
}

/// The error for a header that is damaged or contradicts itself.
fn damaged_header() -> AudioError {
    AudioError::unknown_codec("Opus with a damaged header")
}

/// An Opus decoder for all streams of a track.
pub(super) struct Opus {
    head: Head,
    decoder: Libopus,
    /// The last decoded packet, interleaved and without gain.
    samples: Vec<f32>,
}

impl Opus {
    /// A decoder for a track with the header `head`.
    ///
    /// # Errors
    /// [`AudioError::UnknownCodec`] for a header that contradicts itself.
    pub(super) fn decoder(parameters: &AudioCodecParameters, head: Head) -> crate::Result<PlanarDecoder<Self>> {
        let decoder = Libopus::new(&head).ok_or_else(damaged_header)?;
        // The channel count comes from one byte.
        let channels = head.channels as u16;
        let samples = vec![0.0; LONGEST * head.channels];
        Ok(PlanarDecoder::new(Opus { head, decoder, samples }, parameters, RATE, channels, LONGEST))
    }
}

/// An owned libopus multistream decoder.
struct Libopus(NonNull<OpusMSDecoder>);

// SAFETY: libopus keeps no state outside the decoder, and all access is through `&mut`.
#[allow(unsafe_code)]
unsafe impl Send for Libopus {}
// SAFETY: no method takes a shared reference.
#[allow(unsafe_code)]
unsafe impl Sync for Libopus {}

impl Libopus {
    /// A decoder for `head`; `None` if its stream and channel counts contradict each other.
    #[allow(unsafe_code)]
    fn new(head: &Head) -> Option<Self> {
        let number = |count: usize| i32::try_from(count).ok();
        let (channels, streams, coupled) = (number(head.channels)?, number(head.streams)?, number(head.coupled)?);
        if head.mapping.len() < head.channels {
            return None;
        }
        let mut error = 0;
        // SAFETY: the mapping has a byte for each channel, and `error` outlives the call.
        let decoder = unsafe {
            let mapping = head.mapping.as_ptr();
            opus_multistream_decoder_create(RATE as i32, channels, streams, coupled, mapping, &raw mut error)
        };
        NonNull::new(decoder).filter(|_| error == 0).map(Libopus)
    }

    /// Decodes a packet into `samples`, which has room for the longest packet, and returns its length in samples per
    /// channel.
    #[allow(unsafe_code)]
    fn decode(&mut self, packet: &[u8], samples: &mut [f32], channels: usize) -> Option<usize> {
        let room = i32::try_from(samples.len() / channels).ok()?;
        let length = i32::try_from(packet.len()).ok()?;
        // SAFETY: the decoder was created with this channel count, and the lengths are those of the slices.
        let found = unsafe {
            let (packet, samples) = (packet.as_ptr(), samples.as_mut_ptr());
            opus_multistream_decode_float(self.0.as_ptr(), packet, length, samples, room, 0)
        };
        usize::try_from(found).ok().filter(|&found| found > 0 && found <= samples.len() / channels)
    }
}

impl Drop for Libopus {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: libopus created the pointer, and it is not used after this.
        unsafe { opus_multistream_decoder_destroy(self.0.as_ptr()) }
    }
}

impl PacketDecoder for Opus {
    const INFO: &'static CodecInfo = &CodecInfo { short_name: "opus", long_name: "Opus", profiles: &[] };

    fn reset(&mut self) {
        // Cannot fail: the same parameters created a decoder before.
        if let Some(decoder) = Libopus::new(&self.head) {
            self.decoder = decoder;
        }
    }

    fn decode(&mut self, packet: &PacketRef<'_>, planes: &mut Planes) -> Result<()> {
        let channels = self.head.channels;
        // libopus treats an empty packet as a lost one and conceals it.
        let length = Some(packet.data).filter(|data| !data.is_empty());
        let length = length.and_then(|data| self.decoder.decode(data, &mut self.samples, channels));
        let length = length.ok_or(Error::DecodeError("a packet of Opus is damaged"))?;
        let (samples, gain) = (&self.samples, self.head.gain);
        let channel = |index: usize| samples.iter().skip(index).step_by(channels).map(move |sample| sample * gain);
        planes.fill(length, (0..channels).map(channel));
        planes.trim(packet, length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_headers_are_refused() {
        let head = |rest: &[u8]| Head::read(Some(&[b"OpusHead", rest].concat()), 2);
        let stereo = head(b"\x01\x02\x38\x01\x80\xbb\0\0\0\x06\0").unwrap();
        assert!(stereo.pre_skip == 312 && stereo.coupled == 1 && (stereo.gain - 1.9953).abs() < 1e-4);
        let mp4 = head(b"\0\x02\x01\x38\0\0\xbb\x80\x06\0\0").unwrap();
        assert_eq!(mp4, stereo);
        assert!(head(b"\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05").is_ok());
        assert_eq!(Head::read(None, 1).unwrap().coupled, 0);
        for wrong in [
            &b""[..],
            b"\x01\x03\0\0\0\0\0\0\0\0\0",
            b"\x01\0\0\0\0\0\0\0\0\0\x01\x01\0",
            b"\x01\x02\0\0\0\0\0\0\0\0\x01\x01\x02\0\x01",
            b"\x01\x02\0\0\0\0\0\0\0\0\x01\x01\0\0\x01",
            b"\x01\x02\0\0\0\0\0\0\0\0\x01\x02\0\0",
            b"\x01\x04\0\0\0\0\0\0\0\0\x02\x04\0\0\x01\x02\x03",
        ] {
            assert!(head(wrong).is_err(), "{wrong:?}");
        }
        assert!(Head::read(None, 6).is_err());
    }
}
