//! What a performer may ask for while playing, a line each.

use std::str::FromStr;

use mert_oracle::Request;

use crate::LiveError;

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Another request, or none.
    Request(Option<Request>),
    /// A mode by its name, or with `mode auto` the one that the other selectors choose.
    Mode(Option<String>),
    /// Silence everything.
    Panic,
    /// End the session.
    Quit,
}

impl FromStr for Command {
    type Err = LiveError;

    /// A request in JSON, `none`, `mode NAME`, `mode auto`, `panic` or `quit`.
    fn from_str(line: &str) -> Result<Self, LiveError> {
        let line = line.trim();
        if line.starts_with(['{', '[']) {
            return Ok(Command::Request(Some(line.parse()?)));
        }
        if let Some((_, name)) = line.split_once(char::is_whitespace).filter(|(word, _)| *word == "mode") {
            let name = name.trim();
            return Ok(Command::Mode((name != "auto").then(|| name.to_string())));
        }
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["none" | "null"] => Ok(Command::Request(None)),
            ["panic"] => Ok(Command::Panic),
            ["quit"] => Ok(Command::Quit),
            _ => Err(LiveError::Command { line: line.chars().take(80).collect() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let parse = |line: &str| line.parse::<Command>();
        assert!(matches!(parse(r#" {"gesture_token": 1} "#), Ok(Command::Request(Some(_)))));
        assert_eq!(parse("none").unwrap(), Command::Request(None));
        assert_eq!(parse("mode  calm").unwrap(), Command::Mode(Some("calm".to_string())));
        assert_eq!(parse("mode two words").unwrap(), Command::Mode(Some("two words".to_string())));
        assert_eq!(parse("mode auto").unwrap(), Command::Mode(None));
        assert!(parse("mode").is_err() && parse("modes calm").is_err());
        assert_eq!((parse("panic").unwrap(), parse("quit").unwrap()), (Command::Panic, Command::Quit));
        assert!(matches!(parse("louder"), Err(LiveError::Command { .. })));
        assert!(parse(r#"{"gesture_tokn": 1}"#).unwrap_err().to_string().contains("gesture_token"));
        assert!(parse("").is_err());
    }
}
