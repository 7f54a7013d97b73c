//! Opus (RFC 6716) as a decoder for symphonia, which has the containers but not the codec: the streams of a packet are told
//! apart (RFC 7845, 5.1.1), decoded one by one, and put in the order of the channels.

use opus_decoder::OpusDecoder;
use symphonia::core::audio::{
    AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, Channels, GenericAudioBufferRef,
};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, FinalizeResult};
use symphonia::core::errors::{Error, Result, decode_error};
use symphonia::core::packet::PacketRef;

/// The rate of what is decoded, whatever the rate of what was encoded.
const RATE: u32 = 48_000;

/// The longest packet, 120 ms, in samples of a channel.
const LONGEST: usize = 5760;

/// The identification header (RFC 7845, 5.1).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    channels: usize,
    /// Samples to leave out before the first.
    pub(super) pre_skip: u16,
    /// What samples are multiplied with.
    gain: f32,
    streams: usize,
    coupled: usize,
    /// Of each channel, which of the decoded ones it is; 255 for silence.
    mapping: Vec<u8>,
}

impl Head {
    /// The header in `data`, which begins with `OpusHead`; that of MP4 (version 0) has its numbers the other way round.
    /// Without one, a single stream of `channels`. The error is the name of what is not decoded.
    pub(super) fn read(data: Option<&[u8]>, channels: usize) -> std::result::Result<Self, String> {
        let damaged = || "Opus with a header that is damaged".to_string();
        let Some(rest) = data.and_then(|data| data.strip_prefix(b"OpusHead")) else {
            let head =
                Head { channels, pre_skip: 0, gain: 1.0, streams: 1, coupled: channels / 2, mapping: vec![0, 1] };
            return if matches!(channels, 1 | 2) { Ok(head) } else { Err(damaged()) };
        };
        let &[version, channels, skip_0, skip_1, _, _, _, _, gain_0, gain_1, family, ref table @ ..] = rest else {
            return Err(damaged());
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
            (2 | 3, ..) => return Err("Opus with ambisonics".to_string()),
            _ => return Err(damaged()),
        };
        let is_known = |&index: &u8| index == 255 || usize::from(index) < streams + coupled;
        if streams == 0 || coupled > streams || !mapping[..channels].iter().all(is_known) {
            return Err(damaged());
        }
        let gain = if gain == 0.0 { 1.0 } else { 10f64.powf(gain / 20.0) as f32 };
        Ok(Head { channels, pre_skip: number(skip_0, skip_1), gain, streams, coupled, mapping })
    }
}

/// A decoder of all streams of a track.
pub(super) struct Opus {
    parameters: AudioCodecParameters,
    head: Head,
    /// Of each stream its decoder, how many channels it has, and what it decoded last.
    streams: Vec<(OpusDecoder, usize, Vec<f32>)>,
    buffer: AudioBuffer<f32>,
}

impl Opus {
    pub(super) fn new(parameters: &AudioCodecParameters, head: Head) -> std::result::Result<Self, String> {
        let stream = |index: usize| {
            let channels = if index < head.coupled { 2 } else { 1 };
            let decoder = OpusDecoder::new(RATE, channels).map_err(|error| error.to_string())?;
            Ok((decoder, channels, vec![0.0; LONGEST * channels]))
        };
        let streams = (0..head.streams).map(stream).collect::<std::result::Result<Vec<_>, String>>()?;
        // The count of channels comes from one byte.
        let channels = Channels::Discrete(head.channels as u16);
        let mut parameters = parameters.clone();
        parameters.with_sample_rate(RATE).with_channels(channels.clone());
        let buffer = AudioBuffer::new(AudioSpec::new(RATE, channels), LONGEST);
        Ok(Opus { parameters, head, streams, buffer })
    }

    fn decode_packet(&mut self, mut data: &[u8]) -> Result<usize> {
        let count = self.streams.len();
        let mut length = None;
        for (index, (decoder, _, samples)) in self.streams.iter_mut().enumerate() {
            let own;
            let packet = if index + 1 < count {
                (own, data) = split(data).ok_or(Error::DecodeError("its streams are of other lengths than stated"))?;
                &own[..]
            } else {
                data
            };
            if packet.is_empty() {
                return decode_error("a packet is empty");
            }
            let found = decoder.decode_float(packet, samples, false);
            let found = found.map_err(|_| Error::DecodeError("a packet of Opus is damaged"))?;
            if length.is_some_and(|length| length != found) || found > LONGEST {
                return decode_error("its streams are of different lengths");
            }
            length = Some(found);
        }
        Ok(length.unwrap_or(0))
    }
}

/// Takes the first packet off `data`, with its length in it (RFC 6716, appendix B), and returns it without.
fn split(data: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (&toc, rest) = data.split_first()?;
    let mut packet = vec![toc];
    let (rest, sizes) = match toc & 3 {
        0 => {
            let (size, rest) = length(rest)?;
            (rest, size)
        }
        1 => {
            let (size, rest) = length(rest)?;
            (rest, 2 * size)
        }
        2 => {
            let (first, after) = length(rest)?;
            packet.extend_from_slice(&rest[..rest.len() - after.len()]);
            let (second, rest) = length(after)?;
            (rest, first + second)
        }
        _ => {
            let (&count, mut rest) = rest.split_first()?;
            packet.push(count);
            let (is_variable, has_padding, frames) = (count & 0x80 != 0, count & 0x40 != 0, usize::from(count & 0x3f));
            let mut padding = 0;
            if has_padding {
                loop {
                    let (&byte, after) = rest.split_first()?;
                    packet.push(byte);
                    rest = after;
                    padding += if byte == 255 { 254 } else { usize::from(byte) };
                    if byte != 255 {
                        break;
                    }
                }
            }
            let mut sizes = 0;
            if is_variable {
                for _ in 1..frames {
                    let (size, after) = length(rest)?;
                    packet.extend_from_slice(&rest[..rest.len() - after.len()]);
                    sizes += size;
                    rest = after;
                }
            }
            let (last, rest) = length(rest)?;
            (rest, if is_variable { sizes + last } else { frames * last } + padding)
        }
    };
    packet.extend_from_slice(rest.get(..sizes)?);
    Some((packet, &rest[sizes..]))
}

/// A frame's length in one or two bytes (RFC 6716, 3.2.1), and what follows.
fn length(data: &[u8]) -> Option<(usize, &[u8])> {
    match data {
        [first @ 252..=255, second, rest @ ..] => Some((usize::from(*first) + 4 * usize::from(*second), rest)),
        [252..=255, ..] | [] => None,
        [first, rest @ ..] => Some((usize::from(*first), rest)),
    }
}

impl AudioDecoder for Opus {
    fn reset(&mut self) {
        self.streams.iter_mut().for_each(|(decoder, ..)| decoder.reset());
    }

    fn codec_info(&self) -> &CodecInfo {
        &CodecInfo { short_name: "opus", long_name: "Opus", profiles: &[] }
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.parameters
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        let length = self.decode_packet(packet.data)?;
        self.buffer.render_uninit(Some(length));
        for channel in 0..self.head.channels {
            let Some(plane) = self.buffer.plane_mut(channel) else { continue };
            let index = usize::from(self.head.mapping[channel]);
            // The streams with two channels come first.
            let (stream, side) =
                if index < 2 * self.head.coupled { (index / 2, index % 2) } else { (index - self.head.coupled, 0) };
            match self.streams.get(stream) {
                Some((_, channels, samples)) => {
                    let samples = samples.iter().skip(side).step_by(*channels);
                    plane.iter_mut().zip(samples).for_each(|(to, from)| *to = from * self.head.gain);
                }
                None => plane.fill(0.0),
            }
        }
        let trim = |duration: u64| usize::try_from(duration).unwrap_or(usize::MAX).min(length);
        self.buffer.trim(trim(packet.trim_start.get()), trim(packet.trim_end.get()));
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packets_of_several_streams_are_told_apart() {
        // One frame, two of one size, two of different sizes, three of one size with padding, three of any.
        for (with, without) in [
            (&b"\x04\x02ab"[..], &b"\x04ab"[..]),
            (b"\x05\x02abcd", b"\x05abcd"),
            (b"\x06\x01\x02abc", b"\x06\x01abc"),
            (b"\x07\x43\x02\x01abc\0\0", b"\x07\x43\x02abc\0\0"),
            (b"\x07\x83\x01\x02\x01abcd", b"\x07\x83\x01\x02abcd"),
        ] {
            let data = [with, b"rest"].concat();
            assert_eq!(split(&data), Some((without.to_vec(), &b"rest"[..])), "{with:?}");
            for end in 0..with.len() {
                assert_eq!(split(&with[..end]), None, "{with:?}, {end} bytes");
            }
        }
        let long = [&[0, 253, 1][..], &[7; 257]].concat();
        assert_eq!(split(&long).map(|(packet, _)| packet.len()), Some(258));
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        let head = |rest: &[u8]| Head::read(Some(&[b"OpusHead", rest].concat()), 2);
        let stereo = head(b"\x01\x02\x38\x01\x80\xbb\0\0\0\x06\0").unwrap();
        assert!(stereo.pre_skip == 312 && stereo.coupled == 1 && (stereo.gain - 1.1885).abs() < 1e-4);
        let mp4 = head(b"\0\x02\x01\x38\0\0\xbb\x80\x06\0\0").unwrap();
        assert_eq!(mp4, stereo);
        assert!(head(b"\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05").is_ok());
        assert_eq!(Head::read(None, 1).map(|head| head.coupled), Ok(0));
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
