//! Decoding by an installed ffmpeg, for files that symphonia cannot read. ffmpeg writes AU, which allows any number of
//! channels and bytes, with f32 samples at the file's rate, into a pipe that is read like any other stream.
//! `command.rs` has the command that users can run instead.

mod command;

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use symphonia::core::io::MediaSource;

pub(super) use command::command;

use super::options::Damage;
use crate::{AudioError, Result};

/// The name of the program, which is looked up in `PATH`.
const PROGRAM: &str = "ffmpeg";

/// The number of bytes of ffmpeg's standard error that are kept.
const MAX_ERROR_BYTES: usize = 2000;

/// The version of the installed ffmpeg, such as `7.1`.
///
/// # Errors
/// [`AudioError::Ffmpeg`] if ffmpeg is not installed.
pub fn ffmpeg_version() -> Result<&'static str> {
    static VERSION: OnceLock<Result<String, String>> = OnceLock::new();
    let run = || {
        let output = Command::new(PROGRAM).arg("-version").stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("cannot be run: {error}. Install it, or omit --ffmpeg"))?;
        // ffmpeg version 7.1 Copyright (c) …
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.strip_prefix("ffmpeg version ").and_then(|text| text.split_whitespace().next());
        version.map(ToString::to_string).ok_or_else(|| "`ffmpeg -version` does not print its version".to_string())
    };
    VERSION.get_or_init(run).as_deref().map_err(AudioError::ffmpeg)
}

/// The samples that ffmpeg writes. Reading fails at the end if ffmpeg failed, or printed an error with
/// [`Damage::Refuse`].
pub(super) struct Output {
    child: Child,
    samples: ChildStdout,
    errors: Option<JoinHandle<String>>,
    damage: Damage,
    notes: Notes,
}

/// The errors that ffmpeg printed, which are available at the end of the stream with [`Damage::Keep`].
pub(super) type Notes = Arc<Mutex<Option<String>>>;

/// Starts ffmpeg on the file at `path`.
pub(super) fn start(path: &Path, damage: Damage) -> Result<(Output, Notes)> {
    ffmpeg_version()?;
    // The `file:` prefix keeps a name with `-` from being an option and one with `:` from being a protocol; the
    // whitelist keeps playlists from fetching URLs.
    let mut input = OsString::from("file:");
    input.push(path);
    let mut command = Command::new(PROGRAM);
    command.args(["-nostdin", "-hide_banner", "-v", "error"]);
    if damage == Damage::Refuse {
        command.arg("-xerror");
    }
    command.args(["-protocol_whitelist", "file", "-i"]).arg(input);
    command.args(["-map", "0:a:0", "-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot_run)?;
    let (Some(samples), Some(mut printed)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(cannot_run(std::io::ErrorKind::BrokenPipe.into()));
    };
    // The pipe is drained because ffmpeg blocks when it is full. Only the beginning is kept.
    let errors = std::thread::spawn(move || {
        let (mut kept, mut piece) = (Vec::new(), [0; 1024]);
        while let Ok(length @ 1..) = printed.read(&mut piece) {
            let room = MAX_ERROR_BYTES - kept.len();
            kept.extend_from_slice(&piece[..length.min(room)]);
        }
        without_addresses(&String::from_utf8_lossy(&kept))
    });
    let notes = Notes::default();
    Ok((Output { child, samples, errors: Some(errors), damage, notes: notes.clone() }, notes))
}

fn cannot_run(error: std::io::Error) -> AudioError {
    AudioError::ffmpeg(format!("cannot be run: {error}"))
}

/// The lines of `printed` as one line without addresses, such as in `[mp3 @ 0x55d0c8]`, which differ on each run.
fn without_addresses(printed: &str) -> String {
    let lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join("; ");
    let mut pieces = joined.split(" @ 0x");
    let first = pieces.next().unwrap_or_default().to_string();
    pieces.fold(first, |text, piece| text + piece.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

impl Read for Output {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.samples.read(into)?;
        if length > 0 || into.is_empty() {
            return Ok(length);
        }
        let Some(errors) = self.errors.take() else { return Ok(0) };
        let status = self.child.wait()?;
        let printed = errors.join().unwrap_or_default();
        let advice = match self.damage {
            Damage::Refuse => ". Repair the file, or use what can be decoded (--damaged keep)",
            Damage::Keep => "",
        };
        if !status.success() {
            let printed = if printed.is_empty() { "it printed no reason" } else { &printed };
            return Err(std::io::Error::other(format!("ffmpeg failed ({status}): {printed}{advice}")));
        }
        match self.damage {
            _ if printed.is_empty() => {}
            Damage::Refuse => return Err(std::io::Error::other(format!("ffmpeg: {printed}{advice}"))),
            Damage::Keep => *self.notes.lock().unwrap_or_else(|lock| lock.into_inner()) = Some(printed),
        }
        Ok(0)
    }
}

impl Seek for Output {
    fn seek(&mut self, _: SeekFrom) -> std::io::Result<u64> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl MediaSource for Output {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // ffmpeg may still be writing. The calls fail if it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_the_same_on_each_run() {
        let printed = "[mp3 @ 0x55d0c8aef0] Header missing\n\nError while decoding [a @ 0x7f] stream #0:0\n";
        assert_eq!(without_addresses(printed), "[mp3] Header missing; Error while decoding [a] stream #0:0");
        assert_eq!(without_addresses("\n"), "");
    }
}
