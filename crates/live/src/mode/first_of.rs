//! Several ways of choosing a mode in order of precedence.

use super::{ModeChoice, ModeInput, ModeSelector};
use crate::Result;

/// The choice of the first selector that makes one.
pub struct FirstOf {
    selectors: Vec<Box<dyn ModeSelector>>,
    last: &'static str,
}

impl FirstOf {
    /// The selectors in order of precedence.
    pub fn new(selectors: Vec<Box<dyn ModeSelector>>) -> Self {
        FirstOf { selectors, last: "none" }
    }
}

impl std::fmt::Debug for FirstOf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.selectors.iter().map(|selector| selector.name())).finish()
    }
}

impl ModeSelector for FirstOf {
    /// The name of the selector that chose last.
    fn name(&self) -> &'static str {
        self.last
    }

    fn seconds(&self) -> f64 {
        self.selectors.iter().map(|selector| selector.seconds()).fold(0.0, f64::max)
    }

    fn interval(&self) -> f64 {
        self.selectors.iter().map(|selector| selector.interval()).fold(f64::INFINITY, f64::min)
    }

    fn select(&mut self, input: &ModeInput<'_>) -> Result<Option<ModeChoice>> {
        for selector in &mut self.selectors {
            // Each selector is given as much sound as it asks for.
            let wanted = (selector.seconds() * f64::from(input.rate)).ceil() as usize;
            let first = input.samples.len().saturating_sub(wanted);
            let own = ModeInput { samples: input.samples.get(first..).unwrap_or_default(), ..*input };
            if let Some(choice) = selector.select(&own)? {
                self.last = selector.name();
                return Ok(Some(choice));
            }
        }
        Ok(None)
    }
}
