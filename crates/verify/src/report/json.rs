//! The report as JSON, whose keys are the field names of the verdict.

use serde::Serialize;

use crate::gate::{ModelError, ModelVerdict, Verdict};

/// The root of the document.
#[derive(Serialize)]
struct Document<'a> {
    /// The name and version of the program.
    generator: &'static str,
    passed: bool,
    models: &'a [ModelVerdict],
    errors: &'a [ModelError],
}

/// Renders the full verdict as JSON, with a trailing newline. NaN and infinities become `null`, next to the failure that
/// they caused; bytes of a path that are not Unicode become U+FFFD.
pub fn to_json(verdict: &Verdict) -> String {
    let document = Document {
        generator: concat!("mert-verify ", env!("CARGO_PKG_VERSION")),
        passed: verdict.passed(),
        models: &verdict.models,
        errors: &verdict.errors,
    };
    // Structs of numbers, strings and lists with string keys always serialise.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}
