//! Syncing of a large file while it is written, so that the final sync has little left to wait for.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Bytes written between two syncs.
const INTERVAL: u64 = 32 << 20;

/// A thread that syncs files while other threads write them.
#[derive(Debug)]
pub struct Writeback {
    written: AtomicU64,
    requests: SyncSender<()>,
}

impl Writeback {
    /// Runs `write`, which reports its progress by [`Writeback::wrote`], beside the thread that syncs.
    ///
    /// # Errors
    /// The operating system's, if a sync fails.
    pub fn during<T>(file: &File, write: impl FnOnce(&Writeback) -> T) -> io::Result<T> {
        Writeback::during_all(&[file], write)
    }

    /// Runs `write` as [`Writeback::during`] does, for several files: each sync is one of all of them.
    ///
    /// # Errors
    /// The operating system's, if a sync fails.
    pub fn during_all<T>(files: &[&File], write: impl FnOnce(&Writeback) -> T) -> io::Result<T> {
        let (requests, received) = sync_channel(1);
        thread::scope(|scope| {
            // The system reports a failed write once, to whoever syncs first: it must not be lost here.
            let sync = || files.iter().try_for_each(|file| file.sync_data());
            let disk = scope.spawn(move || received.into_iter().try_for_each(|()| sync()));
            let result = write(&Writeback { written: AtomicU64::new(0), requests });
            disk.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs the file panicked")))?;
            Ok(result)
        })
    }

    /// Reports that `bytes` more have been written.
    pub fn wrote(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / INTERVAL != (before + bytes) / INTERVAL {
            // If the channel is full, the waiting request covers these bytes too.
            let _ = self.requests.try_send(());
        }
    }
}
