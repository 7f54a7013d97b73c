//! Commands of a player: lines on standard input, or a file of them with times.

use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, anyhow};
use mert_cli::terminal::say;
use mert_live::Command;
use mert_live::mode::Modes;
use mert_table::printable_path;

use crate::file_kind::read_text;

/// The commands of standard input, as they come. A line that is none is said, and nothing else.
pub(super) fn listen(is_listening: bool) -> Receiver<Command> {
    let (send, receiver) = channel();
    if is_listening {
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if line.trim().is_empty() {
                    continue;
                }
                match line.parse::<Command>() {
                    Ok(command) => {
                        if send.send(command).is_err() {
                            return;
                        }
                    }
                    Err(error) => say(&error.to_string()),
                }
            }
        });
    }
    receiver
}

/// The commands of a file: `SECONDS COMMAND` a line; empty lines and those that start with # are skipped.
///
/// # Errors
/// If the file cannot be read, a line is none, or it names a mode that `modes` does not have, with its number.
pub(super) fn read_script(path: &Path, modes: &Modes) -> anyhow::Result<Vec<(f64, Command)>> {
    let text = read_text(path)?;
    let lines = (1..).zip(text.lines().map(str::trim));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let place = || format!("{} line {number}", printable_path(path));
            let (time, command) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let time: f64 =
                time.parse().ok().filter(|time: &f64| time.is_finite() && *time >= 0.0).ok_or_else(|| {
                    anyhow!("{}: `{time}` is no time: expected SECONDS COMMAND, such as 12.5 panic", place())
                })?;
            let command = command.parse().with_context(place)?;
            if let Command::Mode(Some(name)) = &command {
                modes.get(name).with_context(place)?;
            }
            Ok((time, command))
        })
        .collect()
}
