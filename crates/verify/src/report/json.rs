//! The report as JSON.

use std::path::Path;

use serde::Serializer;

use super::Report;

impl Report {
    /// The whole report as JSON, with a newline at its end. NaN and infinities appear as `null`, beside the failure
    /// that they caused; a path that is not Unicode appears with U+FFFD in place of what is not.
    pub fn to_json(&self) -> String {
        // Structs of numbers, strings and lists with string keys always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// A path as text. serde refuses one that is not Unicode, and with it the whole report.
pub(super) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
