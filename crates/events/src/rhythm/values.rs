//! The features of rhythm of each event of a list of onsets.

use super::patterns::{RhythmAnalysis, analyse, check};
use super::phrase::{PhraseSettings, phrases};
use super::pulse::{Pulse, pulse};
use super::{approximate, tempo_factor};
use crate::Result;
use crate::barlow::gcd;

/// The deviation beyond which an onset is early or late.
const LATE: f64 = 0.05;

/// The features of rhythm of an event, and the ratio of its length to that of the event before it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RhythmValues {
    /// The values, in the order of [`crate::FEATURES`] from `units` on; `None` where there is no phrase of two onsets, no
    /// interval after the onset, or no phrase before.
    pub values: [Option<f64>; 11],
    /// The length of the event over that of the event before it, as a reduced fraction of two lengths in units.
    pub ratio: Option<[u32; 2]>,
}

/// The values of the event that starts at each onset. Onsets are in seconds and ascend.
///
/// # Errors
/// [`crate::EventsError::Onsets`] if they do not, and [`crate::EventsError::Setting`].
pub fn rhythm_values(onsets: &[f64], settings: &PhraseSettings) -> Result<Vec<RhythmValues>> {
    settings.check()?;
    check(onsets)?;
    let mut events = vec![RhythmValues::default(); onsets.len()];
    let mut before: Option<(PhraseRhythm, bool)> = None;
    for phrase in phrases(onsets, settings) {
        let times = &onsets[phrase.first..=phrase.last];
        let previous = before.as_ref().map(|(rhythm, _)| rhythm.analysis.unit_tempo);
        let Some(rhythm) = PhraseRhythm::of(times, previous)? else {
            before = None;
            continue;
        };
        // The onset that ends a phrase at a gap has no interval after it; one that continues belongs to the next phrase.
        let count = times.len() - usize::from(phrase.is_continued);
        for (index, event) in events[phrase.first..phrase.first + count].iter_mut().enumerate() {
            *event = rhythm.event(index);
        }
        if let Some((last, true)) = &before {
            let first = &mut events[phrase.first];
            first.set_deviation(last.analysis.deviations.last().copied().unwrap_or_default());
            first.ratio = ratio_of_lengths(onsets[phrase.first] - onsets[phrase.first - 1], times[1] - times[0]);
        }
        before = Some((rhythm, phrase.is_continued));
    }
    Ok(events)
}

/// The ratio of two lengths in seconds, rounded as the analysis rounds them.
fn ratio_of_lengths(before: f64, length: f64) -> Option<[u32; 2]> {
    let (p, q) = approximate(length / before);
    Some([u32::try_from(p).ok()?, u32::try_from(q).ok()?])
}

/// The analysis of a phrase with what its events have in common.
pub(super) struct PhraseRhythm {
    pub(super) analysis: RhythmAnalysis,
    pulse: Pulse,
    tempo_factor: Option<f64>,
    onset_rate: f64,
    syncopation: f64,
}

impl PhraseRhythm {
    /// The rhythm of a phrase after one of the unit tempo `before`; `None` for fewer than two onsets.
    pub(super) fn of(onsets: &[f64], before: Option<f64>) -> Result<Option<Self>> {
        let (Some(analysis), [first, .., last]) = (analyse(onsets)?, onsets) else {
            return Ok(None);
        };
        let pulse = pulse(&analysis.units);
        let mut position = 0;
        let mut off = 0u32;
        for length in analysis.units.iter().copied().chain([0]) {
            off += u32::from(pulse.place(position) != 0);
            position += length;
        }
        Ok(Some(PhraseRhythm {
            pulse,
            tempo_factor: before.and_then(|before| tempo_factor(before, analysis.unit_tempo)),
            onset_rate: (onsets.len() - 1) as f64 / (last - first),
            syncopation: f64::from(off) / onsets.len() as f64,
            analysis,
        }))
    }

    /// The values of the event that starts at the onset `index` of the phrase.
    pub(super) fn event(&self, index: usize) -> RhythmValues {
        let units = &self.analysis.units;
        let position: u64 = units[..index].iter().sum();
        let tempo = self.analysis.unit_tempo;
        let mut values = RhythmValues {
            values: [
                units.get(index).map(|&length| length as f64),
                None,
                None,
                Some(self.pulse.length as f64),
                Some(self.pulse.place(position) as f64),
                Some(tempo),
                Some(tempo / self.pulse.length as f64),
                Some(self.analysis.indigestibility),
                self.tempo_factor,
                Some(self.onset_rate),
                Some(self.syncopation),
            ],
            ratio: None,
        };
        // The grid starts at the first onset, which therefore does not deviate.
        values.set_deviation(if index == 0 { 0.0 } else { self.analysis.deviations[index - 1] });
        if let (Some(&length), Some(&before)) =
            (units.get(index), index.checked_sub(1).and_then(|last| units.get(last)))
        {
            let divisor = gcd(length, before);
            let term = |length: u64| u32::try_from(length / divisor).ok();
            values.ratio = term(length).zip(term(before)).map(|(length, before)| [length, before]);
        }
        values
    }
}

impl RhythmValues {
    fn set_deviation(&mut self, deviation: f64) {
        self.values[1] = Some(deviation);
        self.values[2] = Some(if deviation.abs() <= LATE { 0.0 } else { deviation.signum() });
    }
}
