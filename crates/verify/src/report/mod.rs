//! Reports: a verdict rendered as JSON, JUnit XML or Markdown, and the lines of text that these and the terminal share.
//! Nothing here judges.

mod json;
mod junit;
mod markdown;
pub mod summary;
mod unique;

use std::path::Path;

pub use self::json::to_json;
pub use self::junit::to_junit;
pub use self::markdown::to_markdown;
use crate::Result;
use crate::ioutil::write_atomically;

/// Writes a report atomically, over an earlier one; a pipe or a device is written to directly.
///
/// # Errors
/// [`VerifyError::Write`](crate::VerifyError::Write).
pub fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes())
}
