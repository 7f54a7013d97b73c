//! The list of all problems of a checkpoint, and the advice about them together.

use super::options::drop_options;
use super::problem::Problem;

/// The number of problems that a message lists: enough to see the pattern, short enough to read.
const LISTED: usize = 12;

/// The problems as lines of a message.
pub(super) fn list(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(LISTED) {
        text.push_str(&format!("\n  - {problem}"));
    }
    if problems.len() > LISTED {
        text.push_str(&format!("\n  - … and {} more", problems.len() - LISTED));
    }
    text
}

/// Advice about all problems together.
pub(super) fn advice(problems: &[Problem]) -> String {
    let unexpected: Option<Vec<_>> = problems
        .iter()
        .map(|problem| match problem {
            Problem::Unexpected { name, module, .. } => Some((name.as_str(), module.as_deref())),
            _ => None,
        })
        .collect();
    match unexpected.as_deref() {
        Some([]) | None => {
            "\nIf the configuration is another model's, give the right one with --config; if tensors are missing, download \
             or save the checkpoint again"
                .into()
        }
        Some([_]) => String::new(),
        Some(names) => {
            format!("\nThe model is complete without them: to leave all of them out, add {}", drop_options(names))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::options::DROP_PATTERN;

    #[test]
    fn names_are_quoted_in_advice() {
        let outside = |name: &str, prefix: &str| {
            let (name, prefix) = (name.to_string(), prefix.to_string());
            Problem::OutsidePrefix { name, found: vec![1], prefix }.to_string()
        };
        let message = outside("x'; rm -rf '", "-it's.");
        assert!(message.contains(r#"--drop "x'; rm -rf '""#), "{message}");
        assert!(message.contains(r#"--prefix="-it's.""#), "{message}");
        let unexpected = |name: &str, module: Option<&str>| Problem::Unexpected {
            name: name.into(),
            found: vec![1],
            nearest: None,
            module: module.map(str::to_string),
        };
        for message in [outside("a\nb", ""), unexpected("a\nb", None).to_string()] {
            assert!(
                message.contains("`a\\nb`") && message.contains(DROP_PATTERN) && !message.contains("--drop 'a"),
                "{message}"
            );
        }
        let message = advice(&[unexpected("a\nb", None), unexpected("c\nd", None), unexpected("-e", None)]);
        assert_eq!(message.matches(DROP_PATTERN).count(), 1, "{message}");
        assert!(message.contains("--drop=-e"), "{message}");
    }
}
