//! The runner of the commands: the binaries that cargo built beside the test program, their exit status and output.

use std::ffi::OsStr;
use std::path::PathBuf;

/// A finished run of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The exit status; -1 if a signal ended the process.
    pub code: i32,
    /// Standard output as text.
    pub stdout: String,
    /// Standard error as text.
    pub stderr: String,
}

/// The path of a command of the workspace, such as `mert-convert`. Cargo builds it for every integration test of the
/// crate that has it.
///
/// # Panics
/// If it has not been built: a test of another crate needs `cargo build --bins` first.
pub fn binary(name: &str) -> PathBuf {
    let named = std::env::var_os(format!("CARGO_BIN_EXE_{name}")).map(PathBuf::from);
    let beside = || {
        // target/PROFILE/deps/TEST, and the binaries in target/PROFILE.
        let test = std::env::current_exe().ok()?;
        Some(test.parent()?.parent()?.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
    };
    match named.or_else(beside) {
        Some(path) if path.is_file() => path,
        other => panic!("{name} is not built: expected it at {other:?}; run `cargo build --bins`"),
    }
}

/// A command, to which a test adds arguments and assertions.
///
/// # Panics
/// If the command has not been built (see [`binary`]).
pub fn command(name: &str) -> assert_cmd::Command {
    assert_cmd::Command::new(binary(name))
}

/// Runs a command to its end.
///
/// # Panics
/// If the command has not been built (see [`binary`]) or cannot be started.
pub fn run<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Run {
    let output = match std::process::Command::new(binary(name)).args(args).output() {
        Ok(output) => output,
        Err(error) => panic!("cannot start {name}: {error}"),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}
