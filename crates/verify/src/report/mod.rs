//! Reports: a verdict rendered as JSON, JUnit XML, Markdown or HTML, and the lines of text that these and the terminal share.
//! Nothing here judges.

mod html;
mod json;
mod junit;
mod markdown;
pub mod summary;
mod unique;

use std::io::Write;
use std::path::Path;

use mert_fs::replace_file;

pub use self::html::to_html;
pub use self::json::to_json;
pub use self::junit::to_junit;
pub use self::markdown::to_markdown;
use crate::Result;

/// Writes a report atomically, over an earlier one; a pipe or a device is written to directly.
///
/// # Errors
/// [`VerifyError::Output`](crate::VerifyError::Output).
pub fn write(path: &Path, text: &str) -> Result<()> {
    Ok(replace_file(path, |file| file.write_all(text.as_bytes()))?)
}
