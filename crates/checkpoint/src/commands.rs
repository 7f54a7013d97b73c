//! Commands in messages: words quoted for a shell and for Python, so that they can be pasted as they are.

use std::path::Path;

/// A sentence with `{path}` replaced by the file's path.
pub(crate) fn command(text: &str, path: &Path) -> String {
    text.replace("{path}", &quoted(&path.display().to_string()))
}

/// A word quoted for a shell; NUL, which shells cannot pass, is removed.
pub(crate) fn quoted(word: &str) -> String {
    let word = word.replace('\0', "");
    shlex::try_quote(&word).map(|quoted| quoted.into_owned()).unwrap_or(word.clone())
}

/// A command that runs a line of Python with torch imported; `{path}` becomes the path as a string literal.
pub(crate) fn python(script: &str, path: &Path) -> String {
    let script = script.replace("{path}", &python_literal(&path.display().to_string()));
    format!("`python -c {}`", quoted(&format!("import torch; {script}")))
}

/// A Python string literal. Rust's `{:?}` escapes characters in ways that Python does not know.
pub(crate) fn python_literal(text: &str) -> String {
    let mut literal = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            c if c.is_control() => literal.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => literal.push(c),
        }
    }
    literal + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A decomposed umlaut, as macOS writes file names, stays as it is.
    #[test]
    fn python_literals_escape_what_python_does() {
        let path = "u\u{308}/\"it's\\\u{1b}\n\u{200b}";
        assert_eq!(python_literal(path), "\"u\u{308}/\\\"it's\\\\\\x1b\\n\u{200b}\"");
    }
}
