//! Paths as text in a verdict that is serialized.

use std::path::Path;

use serde::Serializer;

/// Serializes a path as text. serde's own implementation fails for a path that is not Unicode, and with it the whole
/// report.
pub(super) fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
