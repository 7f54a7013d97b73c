//! The phrases of a list of onsets.

use crate::{EventsError, Result};

/// The rules by which onsets are cut into phrases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhraseSettings {
    /// The longest interval within a phrase, in seconds.
    pub max_gap: f64,
    /// The most intervals of a phrase.
    pub max_intervals: usize,
}

impl Default for PhraseSettings {
    /// Gaps of 2 s, which is the longest interval that is heard as a rhythm (P. Fraisse, "Rhythm and tempo", in Deutsch, The
    /// Psychology of Music, 1982), and 8 intervals.
    fn default() -> Self {
        PhraseSettings { max_gap: 2.0, max_intervals: 8 }
    }
}

impl PhraseSettings {
    /// # Errors
    /// [`EventsError::Setting`] for a gap that is not from 0.05 s to 60 s, or a number of intervals not from 2 to 64.
    pub fn check(&self) -> Result<()> {
        EventsError::check_range("gap between phrases", self.max_gap, 0.05, 60.0)?;
        EventsError::check_range("length of phrases in intervals", self.max_intervals as f64, 2.0, 64.0)
    }
}

/// A phrase: onsets with no gap between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phrase {
    /// The index of its first onset.
    pub first: usize,
    /// The index of its last onset. If [`Phrase::is_continued`], that is also the first onset of the next phrase.
    pub last: usize,
    /// True if the phrase ends because it is as long as a phrase may be, not at a gap or at the end.
    pub is_continued: bool,
}

/// The phrases of ascending onsets in seconds, in order. Every onset is in one of them, in two if one phrase continues another.
pub fn phrases(onsets: &[f64], settings: &PhraseSettings) -> Vec<Phrase> {
    let mut phrases = Vec::new();
    let mut first = 0;
    for index in 1..=onsets.len() {
        let is_gap = index == onsets.len() || onsets[index] - onsets[index - 1] > settings.max_gap;
        if is_gap {
            // A phrase that ended just here by its length has no further interval.
            let was_continued = phrases.last().is_some_and(|phrase: &Phrase| phrase.is_continued);
            if first < index - 1 || !was_continued || phrases.last().is_some_and(|phrase| phrase.last != first) {
                phrases.push(Phrase { first, last: index - 1, is_continued: false });
            } else if let Some(phrase) = phrases.last_mut() {
                phrase.is_continued = false;
            }
            first = index;
        } else if index - first == settings.max_intervals {
            phrases.push(Phrase { first, last: index, is_continued: true });
            first = index;
        }
    }
    phrases
}
