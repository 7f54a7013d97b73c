//! A mode that a performer names while playing.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ModeChoice, ModeInput, ModeSelector};
use crate::Result;

/// The mode that a performer asks for; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ModeCommands {
    wish: Arc<Mutex<Option<String>>>,
}

impl ModeCommands {
    /// No wish yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the mode, or leaves the choice to other selectors again.
    pub fn set(&self, mode: Option<String>) {
        *self.wish.lock().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// The wish.
    pub fn get(&self) -> Option<String> {
        self.wish.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The mode of the last command.
#[derive(Debug, Clone)]
pub struct Commanded {
    commands: ModeCommands,
}

impl Commanded {
    /// The choice by `commands`.
    pub fn new(commands: ModeCommands) -> Self {
        Commanded { commands }
    }
}

impl ModeSelector for Commanded {
    fn name(&self) -> &'static str {
        "command"
    }

    fn select(&mut self, _: &ModeInput<'_>) -> Result<Option<ModeChoice>> {
        Ok(self.commands.get().map(|mode| ModeChoice { mode, score: None }))
    }
}
