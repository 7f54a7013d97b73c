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
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["none" | "null"] => Ok(Command::Request(None)),
            ["panic"] => Ok(Command::Panic),
            ["quit"] => Ok(Command::Quit),
            ["mode", "auto"] => Ok(Command::Mode(None)),
            ["mode", name] => Ok(Command::Mode(Some(name.to_string()))),
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
        assert_eq!(parse("mode auto").unwrap(), Command::Mode(None));
        assert_eq!((parse("panic").unwrap(), parse("quit").unwrap()), (Command::Panic, Command::Quit));
        assert!(matches!(parse("louder"), Err(LiveError::Command { .. })));
        assert!(parse(r#"{"gesture_tokn": 1}"#).unwrap_err().to_string().contains("gesture_token"));
        assert!(parse("").is_err());
    }
}
