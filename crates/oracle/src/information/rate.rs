//! The information rate: how much the past says about the present.

use super::compror::{Word, compror};
use crate::Links;

/// The information rate of each event, in bits.
///
/// The definition "cum" of Dubnov, Assayag and Cont, "Audio oracle analysis of musical information rate" (ICSC 2011), as vmo
/// computes it: with words of Compror's code, H0 = log2(words for new events so far), H1 = log2(words so far) / length of the
/// word, IR = max(0, α·H0 - H1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InformationRate {
    /// max(0, α·H0 - H1), by event.
    pub rate: Vec<f64>,
    /// The entropy without the past, by event.
    pub h0: Vec<f64>,
    /// The entropy with the past, by event.
    pub h1: Vec<f64>,
}

impl InformationRate {
    /// The sum over all events, by which thresholds are compared.
    pub fn total(&self) -> f64 {
        self.rate.iter().sum()
    }
}

/// The information rate of a sequence; α is 1 in the literature.
pub fn information_rate(links: &Links, alpha: f64) -> InformationRate {
    let mut result = InformationRate::default();
    let (mut new, mut all) = (0u32, 0u32);
    for word in compror(links) {
        all += 1;
        new += u32::from(matches!(word, Word::New { .. }));
        let h0 = f64::from(new).log2();
        let h1 = f64::from(all).log2() / f64::from(word.events());
        for _ in 0..word.events() {
            result.h0.push(h0);
            result.h1.push(h1);
            result.rate.push((alpha * h0 - h1).max(0.0));
        }
    }
    result
}
