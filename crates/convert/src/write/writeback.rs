use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Bytes between two requests.
const INTERVAL: u64 = 32 << 20;

/// Sends a file's pages to the disk while more are written, so that the sync at the end, which waits for
/// all of them, has little to wait for.
pub(super) struct Writeback {
    written: AtomicU64,
    requests: SyncSender<()>,
}

impl Writeback {
    /// Runs `write`, which reports what it has written, beside the thread that waits for the disk.
    pub(super) fn during<T>(file: &File, write: impl FnOnce(&Writeback) -> T) -> io::Result<T> {
        let (requests, received) = sync_channel(1);
        thread::scope(|scope| {
            // The system reports a failed write once, to whoever syncs first: it must not be lost here.
            let disk = scope.spawn(move || received.into_iter().try_for_each(|()| file.sync_data()));
            let result = write(&Writeback { written: AtomicU64::new(0), requests });
            disk.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs the file panicked")))?;
            Ok(result)
        })
    }

    /// Notes that `bytes` more have been written.
    pub(super) fn wrote(&self, bytes: u64) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / INTERVAL != (before + bytes) / INTERVAL {
            // Full: a request is waiting, and it will cover these bytes too.
            let _ = self.requests.try_send(());
        }
    }
}
