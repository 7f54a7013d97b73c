//! Messages about an invalid `verify.yaml`. Those of the YAML library are about its parser and options; these say what to
//! change in the file.

use std::borrow::Cow;

use mert_arch::printable_line;
use serde_yaml::{Error, MessageFormatter, UserMessageFormatter};

/// Describes an error of the file in one sentence: its position, the fault, and what to do.
pub(super) fn explain(error: &Error) -> String {
    let message = Messages.format_message(error.without_snippet());
    match error.location() {
        Some(location) => format!("line {} column {}: {message}", location.line(), location.column()),
        None => message.into(),
    }
}

/// The key among `expected` that `field` may be meant for.
fn nearest<'a>(field: &str, expected: &[&'a str]) -> Option<&'a str> {
    let similarity = |key: &&&str| strsim::normalized_damerau_levenshtein(field, key);
    let nearest = expected.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(&nearest) > 0.5).then_some(*nearest)
}

struct Messages;

impl MessageFormatter for Messages {
    fn format_message<'a>(&self, error: &'a Error) -> Cow<'a, str> {
        let fixed = match error {
            Error::DuplicateMappingKey { key: Some(key), .. } if key == "model" => {
                "a second `model:` in the same entry; remove one, or begin another entry with `- model:`"
            }
            Error::DuplicateMappingKey { key: Some(key), .. } if key == "models" => {
                "a second `models:`; list all models under the first one"
            }
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                return format!("a second `{key}:` in the same place; remove one of them").into();
            }
            Error::SerdeUnknownField { field, expected, .. } => {
                let suggestion =
                    nearest(field, expected).map_or(String::new(), |key| format!("; did you mean `{key}`?"));
                let (field, expected) = (printable_line(field), expected.join(", "));
                return format!("unknown field `{field}`: expected one of {expected}{suggestion}").into();
            }
            Error::MultipleDocuments { .. } => {
                "a second YAML document; remove the line `---` and list all models under one `models:`"
            }
            Error::Unexpected { expected: "sequence start", .. } => {
                "expected a list, such as [a.npz] or lines that begin with `- `"
            }
            Error::Unexpected { expected: "mapping start", .. } => "expected lines or braces of `key: value`",
            Error::Unexpected { expected: "string scalar", .. } => "expected one text, not a list or `key: value`",
            Error::NullIntoString { .. } => "the value is missing; write a text after the colon",
            Error::InvalidScalar { ty: "boolean", .. } => "expected true or false",
            Error::InvalidScalar { ty: "floating point", .. } => "expected a number, such as 1e-6",
            Error::UnknownAnchor { .. } => {
                "a value that begins with `*` refers to an `&` that is not in the file; quote it"
            }
            Error::Eof { .. } => "unexpected end of the file; it begins with `models:` and lists the models below",
            other => return UserMessageFormatter.format_message(other),
        };
        fixed.into()
    }
}
