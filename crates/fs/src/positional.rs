//! Writes at an offset, so that several threads can write one file.

use std::fs::File;
use std::io;

/// Writes all bytes at an offset, independently of the file's position.
///
/// # Errors
/// The operating system's.
#[cfg(unix)]
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all bytes at an offset. The position is set for each write, one thread at a time.
///
/// # Errors
/// The operating system's.
#[cfg(not(unix))]
pub fn write_all_at(mut file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    use std::sync::{Mutex, PoisonError};
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}
