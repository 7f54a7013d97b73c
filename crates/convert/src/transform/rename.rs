//! The change of a tensor's name.

use serde::Serialize;

/// Gives a tensor another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rename {
    /// The name in the checkpoint's file.
    pub from: String,
    /// The name in the output.
    pub to: String,
}

impl Rename {
    /// What was removed from the beginning of the name, if nothing else was changed.
    pub fn removed_prefix(&self) -> Option<&str> {
        self.from.strip_suffix(&self.to).filter(|prefix| !prefix.is_empty())
    }
}
