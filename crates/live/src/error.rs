//! The errors of live use.

use mert_audio::AudioError;
use mert_events::EventsError;
use mert_fs::FsError;
use mert_oracle::OracleError;
use mert_tokens::TokensError;

/// The errors that keep a session from starting or end it.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// An oracle without anything to play.
    #[error("the oracle {reason}: build it with `mert-tokens oracle` from events with notes")]
    Oracle {
        /// What is missing.
        reason: String,
    },
    /// An option outside its range.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// The name of the option.
        name: &'static str,
        /// The value.
        found: String,
        /// The range.
        expected: &'static str,
    },
    /// Blocks out of order.
    #[error(
        "a block starts at sample {found}, but {heard} samples were heard before: expected blocks in order of time"
    )]
    Order {
        /// The first sample of the block.
        found: u64,
        /// The samples before it.
        heard: u64,
    },
    /// A file of modes that cannot be read.
    #[error("not a file of modes: {reason}; expected `modes:` with a list of modes, each with a `name`")]
    Modes {
        /// What is wrong.
        reason: String,
    },
    /// A mode with a wrong request or option.
    #[error("mode `{mode}`: {reason}")]
    Mode {
        /// The name of the mode.
        mode: String,
        /// What is wrong.
        reason: String,
    },
    /// A mode that the session does not have.
    #[error("unknown mode `{name}`: {}", expected_modes(known))]
    UnknownMode {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A line that is no command.
    #[error("`{line}` is no command: expected a request in JSON, none, mode NAME, mode auto, panic or quit")]
    Command {
        /// The line.
        line: String,
    },
    /// A choice of a mode that failed.
    #[error("the mode cannot be chosen: {reason}")]
    Selector {
        /// Why.
        reason: String,
    },
    /// A thread that ended by itself.
    #[error("the thread of {name} ended unexpectedly")]
    Thread {
        /// What it did.
        name: &'static str,
    },
    /// A sound or MIDI device.
    #[error("{device}: {reason}")]
    Device {
        /// The device or port.
        device: String,
        /// What is wrong, and what there is.
        reason: String,
    },
    /// MIDI that cannot be written.
    #[error("cannot write {output}: {source}")]
    Write {
        /// The output.
        output: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// An error of the events of sound.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// An error of the oracle.
    #[error(transparent)]
    Navigation(#[from] OracleError),
    /// An error of the model or the vocabulary.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// An error of the sound.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// An error of a file.
    #[error(transparent)]
    File(#[from] FsError),
}

/// The names of modes that there are, for a message.
fn expected_modes(known: &str) -> String {
    match known {
        "" => "the session has no modes; give a file of them with --modes".to_string(),
        known => format!("expected one of {known}"),
    }
}
