//! The report as JSON.

use std::path::Path;

use serde::Serializer;

use super::Report;

impl Report {
    /// The full report as JSON, with a trailing newline. NaN and infinities become `null`, next to the failure that
    /// they caused; bytes of a path that are not Unicode become U+FFFD.
    pub fn to_json(&self) -> String {
        // Structs of numbers, strings and lists with string keys always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// Serializes a path as text. serde's own implementation fails on a path that is not Unicode, and the whole report with
/// it.
pub(super) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
