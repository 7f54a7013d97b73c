//! A mode that an option names.

use super::{ModeChoice, ModeInput, ModeSelector};
use crate::Result;

/// The same mode throughout.
#[derive(Debug, Clone)]
pub struct Fixed {
    mode: String,
}

impl Fixed {
    /// The choice of `mode`.
    pub fn new(mode: impl Into<String>) -> Self {
        Fixed { mode: mode.into() }
    }
}

impl ModeSelector for Fixed {
    fn name(&self) -> &'static str {
        "option"
    }

    fn select(&mut self, _: &ModeInput<'_>) -> Result<Option<ModeChoice>> {
        Ok(Some(ModeChoice { mode: self.mode.clone(), score: None }))
    }
}
