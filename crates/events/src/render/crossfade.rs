//! Sound made of segments of recordings, joined with cross-fades.

use std::f64::consts::FRAC_PI_2;

use crate::{EventsError, Result};

/// A segment of a recording.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The samples of the whole recording, mono.
    pub recording: &'a [f32],
    /// The first sample of the segment.
    pub start: usize,
    /// The sample after the last one.
    pub end: usize,
}

/// The sound of segments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rendered {
    /// The samples.
    pub samples: Vec<f32>,
    /// The factor by which all samples were multiplied so that none exceeds 1; 1 if none did.
    pub gain: f32,
    /// The joins at which the recording just goes on.
    pub continued: usize,
    /// The joins with a cross-fade.
    pub faded: usize,
}

/// The segments one after another: as long as all of them together, so that each starts when its event does.
///
/// At a join the sound that follows a segment in its recording is faded out over `fade` samples while the next one is faded in.
/// The fade has equal power (the curves are cosine and sine), because two places of music are not correlated, and a linear one
/// would dip by 3 dB. Where the next segment is what follows anyway there is none: the recording goes on, sample by sample. A
/// fade is at most half as long as both segments, and ends where a recording does. The first segment is faded in unless it is
/// the start of its recording, the last one faded out unless it is its end.
///
/// If a sample exceeds full scale, all of them are multiplied by the same factor, [`Rendered::gain`]: clipping would distort.
///
/// # Errors
/// [`EventsError::Segment`] for a segment outside its recording or without samples.
pub fn join_segments(segments: &[Segment<'_>], fade: usize) -> Result<Rendered> {
    for (index, segment) in segments.iter().enumerate() {
        let Segment { recording, start, end } = *segment;
        if start >= end || end > recording.len() {
            return Err(EventsError::Segment { index, start, end, length: recording.len() });
        }
    }
    let mut rendered = Rendered { gain: 1.0, ..Rendered::default() };
    let mut samples: Vec<f32> = Vec::with_capacity(segments.iter().map(Segment::len).sum());
    for (index, segment) in segments.iter().enumerate() {
        let start = samples.len();
        samples.extend_from_slice(&segment.recording[segment.start..segment.end]);
        let own = &mut samples[start..];
        match index.checked_sub(1).map(|last| &segments[last]) {
            Some(before) if before.continues_in(segment) => rendered.continued += 1,
            Some(before) => {
                let tail = &before.recording[before.end..];
                let length = fade.min(before.len() / 2).min(segment.len() / 2);
                fade_in(own, length);
                // Where the recording ends the tail is shorter, and faded faster.
                fade_out_into(own, &tail[..length.min(tail.len())]);
                rendered.faded += 1;
            }
            None if segment.start > 0 => fade_in(own, fade.min(segment.len() / 2)),
            None => {}
        }
    }
    if let Some(last) = segments.last()
        && last.end < last.recording.len()
    {
        let length = fade.min(last.len() / 2);
        let start = samples.len() - length;
        for (sample, place) in samples[start..].iter_mut().zip(0..) {
            *sample *= falling(place, length);
        }
    }
    let peak = samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    if peak > 1.0 && peak.is_finite() {
        rendered.gain = 1.0 / peak;
        samples.iter_mut().for_each(|sample| *sample = (*sample * rendered.gain).clamp(-1.0, 1.0));
    }
    rendered.samples = samples;
    Ok(rendered)
}

impl Segment<'_> {
    /// The number of samples.
    fn len(&self) -> usize {
        self.end - self.start
    }

    /// True if the other segment follows this one in its recording.
    fn continues_in(&self, other: &Segment<'_>) -> bool {
        self.end == other.start && std::ptr::eq(self.recording, other.recording)
    }
}

fn fade_in(samples: &mut [f32], length: usize) {
    for (sample, place) in samples[..length].iter_mut().zip(0..) {
        *sample *= rising(place, length);
    }
}

/// Adds a tail that is faded out over its length.
fn fade_out_into(samples: &mut [f32], tail: &[f32]) {
    for ((sample, &tail_sample), place) in samples.iter_mut().zip(tail).zip(0..) {
        *sample += tail_sample * falling(place, tail.len());
    }
}

/// The factor of a sample of a fade-in; with that of the fade-out their squares sum to 1.
fn rising(place: usize, length: usize) -> f32 {
    ((place as f64 + 0.5) / length as f64 * FRAC_PI_2).sin() as f32
}

fn falling(place: usize, length: usize) -> f32 {
    ((place as f64 + 0.5) / length as f64 * FRAC_PI_2).cos() as f32
}

#[cfg(test)]
#[path = "sound_tests.rs"]
mod tests;
