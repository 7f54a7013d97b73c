//! Commands in messages: words quoted for a shell and for Python, so that they can be pasted as they are. The rule for
//! shells is here for the crates above, too, so that there is only one.

use std::path::Path;

/// A sentence with `{path}` replaced by the file's path.
pub(crate) fn command(text: &str, path: &Path) -> String {
    text.replace("{path}", &word_or_placeholder(&path.display().to_string()))
}

/// A word quoted for a shell where that is necessary; `None` if it has control characters, which a terminal would
/// interpret.
pub fn shell_word(word: &str) -> Option<String> {
    let is_printable = !word.contains(char::is_control);
    is_printable.then(|| shlex::try_quote(word).ok().map(|quoted| quoted.into_owned())).flatten()
}

/// An option with its value, quoted for a shell; `None` if the value has control characters. A value that begins with `-`
/// is joined by `=`, because it would be read as another option.
pub fn shell_option(name: &str, value: &str) -> Option<String> {
    let separator = if value.starts_with('-') { '=' } else { ' ' };
    shell_word(value).map(|value| format!("{name}{separator}{value}"))
}

/// A word quoted for a shell, or `PATH` for the user to fill in if the word cannot be pasted.
pub(crate) fn word_or_placeholder(word: &str) -> String {
    shell_word(word).unwrap_or_else(|| "PATH".into())
}

/// A command that runs a line of Python with torch imported; `{path}` becomes the path as a string literal.
pub(crate) fn python(script: &str, path: &Path) -> String {
    let script = script.replace("{path}", &python_literal(&path.display().to_string()));
    format!("`python -c {}`", word_or_placeholder(&format!("import torch; {script}")))
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

    #[test]
    fn options_can_be_pasted() {
        for (value, expected) in [
            ("a b", Some("--drop 'a b'")),
            ("it's", Some(r#"--drop "it's""#)),
            ("-rf*", Some("--drop='-rf*'")),
            ("plain.weight", Some("--drop plain.weight")),
            ("", Some("--drop ''")),
            ("a\u{1b}[31m", None),
            ("a\nb", None),
            ("a\0", None),
        ] {
            assert_eq!(shell_option("--drop", value).as_deref(), expected);
        }
        assert_eq!(command("rm {path}", Path::new("a\nb")), "rm PATH");
    }

    /// A decomposed umlaut, as macOS writes file names, stays as it is.
    #[test]
    fn python_literals_escape_what_python_does() {
        let path = "u\u{308}/\"it's\\\u{1b}\n\u{200b}";
        assert_eq!(python_literal(path), "\"u\u{308}/\\\"it's\\\\\\x1b\\n\u{200b}\"");
    }
}
