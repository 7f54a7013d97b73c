//! The handling of signals: a run ends after the current window, or at once if that takes too long, and leaves no
//! temporary file.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::terminal::{Exit, say};

/// Whether the run should end. A signal and `--strict` set it.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// Whether files are being embedded. The process may then end at any moment, because finished files are in the journal.
static EMBEDDING: AtomicBool = AtomicBool::new(false);

/// Whether the output is being written, which is short and must not leave a temporary file.
static WRITING: AtomicBool = AtomicBool::new(false);

/// The time that a signal leaves for the current window.
const GRACE: Duration = Duration::from_secs(2);

/// Runs `embed`, during which a signal keeps the finished files.
pub fn while_embedding<T>(embed: impl FnOnce() -> T) -> T {
    during(&EMBEDDING, embed)
}

/// Runs `write`, during which the first signal waits for its end.
pub fn while_writing<T>(write: impl FnOnce() -> T) -> T {
    during(&WRITING, write)
}

fn during<T>(flag: &AtomicBool, action: impl FnOnce() -> T) -> T {
    flag.store(true, Ordering::Relaxed);
    let result = action();
    flag.store(false, Ordering::Relaxed);
    result
}

/// Handles a signal: ends the run after the current window. A second signal ends the process at once, as does a window
/// that takes longer than 2 seconds, or standard input without data.
pub fn on_signal() {
    let (embedding, writing) = (EMBEDDING.load(Ordering::Relaxed), WRITING.load(Ordering::Relaxed));
    if !(embedding || writing) {
        // A model of the hub may be being converted.
        mert_fs::remove_temporaries(exit);
    }
    if STOP.swap(true, Ordering::Relaxed) {
        exit();
    }
    std::thread::spawn(|| {
        std::thread::sleep(GRACE);
        if EMBEDDING.load(Ordering::Relaxed) {
            say("interrupted: the same command continues from the files that are finished");
            exit();
        }
    });
}

fn exit() -> ! {
    std::process::exit(Exit::Interrupted.code().into())
}
