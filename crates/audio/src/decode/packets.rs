//! Reading the packets of a file, and decoding them one by one.

use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use super::file::AudioFile;
use super::options::Damage;
use super::reasons;
use crate::{AudioError, Result};

/// The number of samples that a lossy stream may be short of its stated length without being truncated: encoders count
/// different parts of their delay and padding. It is two frames of MP3, and more than the delay of any encoder.
const LOSSY_TOLERANCE: u64 = 2304;

/// The change of a stream that is followed by another.
const NEXT_STREAM: &str = "another stream begins";

impl AudioFile {
    /// The next packet of the track, `None` at the end.
    pub(super) fn next_packet(&mut self) -> Result<Option<Packet>> {
        // Nothing after the first end of an Ogg stream is played.
        if self.own_trims && self.info.frames.is_some_and(|frames| self.position >= frames) {
            return Ok(None);
        }
        loop {
            match self.pending.pop_front().unwrap_or_else(|| self.format.next_packet()) {
                Ok(Some(packet)) if packet.track_id == self.track_id => return Ok(Some(self.prepare(packet))),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(SymphoniaError::ResetRequired) => {
                    return Err(AudioError::stream_changed(self.seconds(), NEXT_STREAM));
                }
                Err(SymphoniaError::IoError(error)) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                    return Err(error.into());
                }
                Err(SymphoniaError::IoError(_)) => {
                    // A WAV file that was written to a pipe does not state its length, and may end anywhere. So may
                    // Matroska of unknown size, whose elements were checked.
                    self.is_truncated |= match self.info.container {
                        "wave" | "ffmpeg" => self.info.frames.is_some_and(|frames| self.position < frames),
                        "matroska" => false,
                        _ => true,
                    };
                    return Ok(None);
                }
                // The next packet cannot be found.
                Err(_) => {
                    self.damaged(self.seconds(), reasons::NO_PACKET)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Counts a packet, resets the decoder if the packet follows a gap, and removes trims that are not used.
    fn prepare(&mut self, mut packet: Packet) -> Packet {
        if self.resets.front() == Some(&self.packets) {
            self.resets.pop_front();
            self.decoder.reset();
        }
        self.packets += 1;
        // The first packet, which the reader trims whole, decodes to nothing.
        if self.own_trims {
            packet.dur = packet.dur.saturating_add(packet.trim_end);
            packet.trim_end = Duration::ZERO;
        }
        packet
    }

    /// Puts back a packet returned by [`AudioFile::next_packet`].
    pub(super) fn unread(&mut self, packet: Packet) {
        self.packets -= 1;
        self.pending.push_front(Ok(Some(packet)));
    }

    /// Decodes a packet into `mono`.
    pub(super) fn decode(&mut self, packet: &Packet) -> Result<()> {
        let failure = match self.decoder.decode(packet) {
            Ok(buffer) => {
                let spec = buffer.spec();
                let (rate, channels) = (spec.rate(), spec.channels().count());
                // Some decoders learn the channels only from the first packet.
                if self.info.channels == 0 {
                    self.info.channels = channels;
                }
                let info = &self.info;
                if (rate, channels) != (info.sample_rate, info.channels) || channels == 0 {
                    let was = (info.sample_rate, info.channels);
                    let what = format!("from {} Hz and {} channels to {rate} Hz and {channels}", was.0, was.1);
                    return Err(AudioError::stream_changed(self.seconds(), what));
                }
                buffer.copy_to_vec_interleaved::<f32>(&mut self.interleaved);
                self.mono.clear();
                let frames = self.interleaved.chunks_exact(channels);
                match self.selected.filter(|&channel| channel < channels) {
                    _ if channels == 1 => self.mono.extend_from_slice(&self.interleaved),
                    Some(channel) => self.mono.extend(frames.map(|frame| frame[channel])),
                    None => self.mono.extend(frames.map(|frame| frame.iter().sum::<f32>() / channels as f32)),
                }
                self.mean_nonzero = self.mean_nonzero || self.mono.iter().any(|&x| x != 0.0);
                if !self.mean_nonzero {
                    self.channels_nonzero |= self.interleaved.iter().any(|&x| x != 0.0);
                }
                self.discard_end();
                return Ok(());
            }
            Err(SymphoniaError::ResetRequired) => {
                return Err(AudioError::stream_changed(self.seconds(), NEXT_STREAM));
            }
            Err(_) => reasons::of_packet(self.info.codec),
        };
        self.damaged(self.seconds(), &failure)?;
        self.mono.clear();
        let mut frames = self.frames_of(packet);
        // Matroska does not state the length of a packet; most are as long as the previous one.
        if frames == 0 && self.info.container == "matroska" {
            frames = (self.interleaved.len() / self.info.channels.max(1)) as u64;
        }
        self.mono.resize(usize::try_from(frames).unwrap_or(0), 0.0);
        self.discard_end();
        Ok(())
    }

    /// Trims the encoder's padding from the last packet, if the container states it per packet.
    fn discard_end(&mut self) {
        if let Some((packet, samples)) = self.discard
            && self.packets == packet + 1
        {
            let length = self.mono.len() as u64;
            self.mono.truncate(length.saturating_sub(samples) as usize);
        }
    }

    fn time_base(&self) -> Option<TimeBase> {
        self.format.tracks().iter().find(|track| track.id == self.track_id)?.time_base
    }

    /// Whether packet times are in samples.
    pub(super) fn counts_samples(&self) -> bool {
        self.time_base().is_some_and(|base| base.numer.get() == 1 && base.denom.get() == self.info.sample_rate)
    }

    /// The number of samples that a packet decodes to.
    pub(super) fn frames_of(&self, packet: &Packet) -> u64 {
        let frames = self.frames_in(packet.dur);
        // symphonia-bundle-mp3 0.6.1 does not subtract trims from the duration of a packet.
        let trimmed = if self.info.codec == "mp3" { [packet.trim_start, packet.trim_end] } else { [Duration::ZERO; 2] };
        trimmed.into_iter().fold(frames, |frames, trim| frames.saturating_sub(self.frames_in(trim)))
    }

    /// The duration in samples; zero if it is too long for a packet.
    fn frames_in(&self, duration: Duration) -> u64 {
        const LONGEST_PACKET: u64 = 1 << 20;
        let Some(base) = self.time_base() else { return 0 };
        let (numer, denom) = (u128::from(base.numer.get()), u128::from(base.denom.get()));
        let frames = u128::from(duration.get()) * numer * u128::from(self.info.sample_rate) / denom;
        u64::try_from(frames).ok().filter(|&frames| frames <= LONGEST_PACKET).unwrap_or(0)
    }

    /// Trims `mono` to the part of the stream that is played.
    fn apply_bounds(&mut self) {
        let skipped = self.skip.min(self.mono.len() as u64);
        self.mono.drain(..skipped as usize);
        self.skip -= skipped;
        if let Some(keep) = self.keep {
            let room = keep.saturating_sub(self.position);
            self.mono.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        }
    }

    /// The number of samples that the stream may be short of its stated length.
    fn tolerance(&self) -> u64 {
        match (self.info.container, self.info.codec) {
            // The pages were checked and are more reliable than the length, unless that was counted.
            ("ogg", _) if !self.own_trims => u64::MAX,
            ("ogg", _) => 0,
            (_, "flac" | "alac") => 0,
            (_, codec) if codec.starts_with("pcm") => 0,
            _ => LOSSY_TOLERANCE,
        }
    }

    /// The number of samples that are missing before `packet`: the FLAC reader drops damaged frames without an error.
    pub(super) fn gap_before(&mut self, packet: &Packet) -> u64 {
        if self.info.container != "flac" {
            return 0;
        }
        let time = u64::try_from(packet.pts.get()).unwrap_or(0);
        // A recording of a live stream starts at any time and does not state a length.
        if self.position == 0 && self.info.frames.is_none() {
            self.origin = time;
        }
        time.saturating_sub(self.origin + self.position)
    }

    /// The length in samples of the silence that replaces missing frames before `packet`.
    fn missing_before(&mut self, packet: &Packet) -> Result<usize> {
        /// The longest gap that is filled; a longer one is left out.
        const LONGEST_GAP: u64 = 1 << 22;
        let missing = self.gap_before(packet);
        if missing > 0 {
            self.damaged(self.seconds(), "frames are missing or have changed")?;
        }
        if missing > LONGEST_GAP {
            self.origin += missing;
            return Ok(0);
        }
        Ok(missing as usize)
    }

    /// Checks the length and the checksum of the stream at its end.
    pub(super) fn check_end(&mut self) -> Result<()> {
        let found = self.seconds();
        let announced = self.info.frames.map(|frames| frames as f64 / f64::from(self.info.sample_rate));
        let missing = self.info.frames.map_or(0, |frames| frames.saturating_sub(self.position));
        if missing > self.tolerance() || self.is_truncated {
            let truncated = AudioError::Truncated { found, announced };
            let note = truncated.to_string();
            match self.damage {
                Damage::Refuse => return Err(truncated),
                Damage::Keep if self.notes.contains(&note) => {}
                Damage::Keep => self.notes.push(note),
            }
        } else if !self.has_skipped && self.decoder.finalize().verify_ok == Some(false) && self.notes.is_empty() {
            self.damaged(found, "the checksum of the samples does not match")?;
        }
        if let Some(printed) = self.ffmpeg.take().and_then(|notes| notes.lock().ok()?.take()) {
            self.notes.push(format!("ffmpeg: {printed}"));
        }
        Ok(())
    }

    /// Decodes packets until one yields samples; returns whether there was one.
    pub(super) fn advance(&mut self) -> Result<bool> {
        while !self.ended {
            let Some(packet) = self.next_packet()? else {
                self.ended = true;
                self.check_end()?;
                break;
            };
            let missing = self.missing_before(&packet)?;
            self.decode(&packet)?;
            self.mono.splice(0..0, std::iter::repeat_n(0.0, missing));
            self.apply_bounds();
            if !self.mono.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
