//! The state of the server: the catalogue as it is now, reopened when another process has changed it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use mert_search::Catalogue;
use mert_search::catalogue::Manifest;
use tokio::sync::Semaphore;

use crate::Result;
use crate::metrics::NamedMetric;
use crate::snapshot::Snapshot;
use crate::uploads::Uploads;

/// The most files that are received at once.
const RECEIVING: usize = 4;

/// The most passages that are decoded at once; a browser that pauses keeps its own.
const DECODING: usize = 128;

/// Where messages for the person who started the server go.
type Warn = Box<dyn Fn(&str) + Send + Sync>;

/// The state that all requests share.
pub(crate) struct State {
    folder: PathBuf,
    warn: Warn,
    current: RwLock<Arc<Snapshot>>,
    uploads: Arc<Uploads>,
    /// Permits to receive a file: each may fill a temporary file up to the limit.
    receiving: Semaphore,
    /// Permits to send audio that is decoded meanwhile: each has a thread, which waits for its reader.
    decoding: Arc<Semaphore>,
    /// The size and time of the manifest that was read last. Its lock is held while the catalogue is reopened.
    stamp: Mutex<Option<Stamp>>,
}

/// The size and the time of a file.
type Stamp = (u64, SystemTime);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl State {
    /// Opens the catalogue in `folder`.
    pub(crate) fn open(folder: &Path, metrics: Vec<NamedMetric>, uploads: Uploads, warn: Warn) -> Result<Self> {
        // The time is read first: a change in between is found with the next request.
        let stamp = Mutex::new(stamp(folder));
        let catalogue = Catalogue::open(folder)?;
        catalogue.notes().iter().for_each(|note| warn(note));
        let uploads = Arc::new(uploads);
        let snapshot = Snapshot::new(catalogue, metrics.into(), Arc::clone(&uploads), None);
        let receiving = Semaphore::new(RECEIVING);
        let (folder, current) = (folder.to_path_buf(), RwLock::new(Arc::new(snapshot)));
        let decoding = Arc::new(Semaphore::new(DECODING));
        Ok(State { folder, warn, current, uploads, receiving, decoding, stamp })
    }

    /// The files that were sent.
    pub(crate) fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Permits to receive a file.
    pub(crate) fn receiving(&self) -> &Semaphore {
        &self.receiving
    }

    /// Permits to send audio that is decoded meanwhile.
    pub(crate) fn decoding(&self) -> &Arc<Semaphore> {
        &self.decoding
    }

    /// The catalogue as it is now. One that has been changed and cannot be opened stays as it was, which is said.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.reopen_if_changed();
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reopen_if_changed(&self) {
        let now = stamp(&self.folder);
        // While another thread reopens the catalogue, requests are answered from the old one.
        let Ok(mut stamp) = self.stamp.try_lock() else { return };
        if *stamp == now {
            return;
        }
        *stamp = now;
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let reopened = Manifest::read(&self.folder).and_then(|manifest| {
            let is_new = manifest.generation != current.generation();
            if is_new { Catalogue::open(&self.folder).map(Some) } else { Ok(None) }
        });
        match reopened {
            Ok(Some(catalogue)) => {
                catalogue.notes().iter().for_each(|note| (self.warn)(note));
                let (metrics, uploads) = (Arc::clone(&current.metrics), Arc::clone(&self.uploads));
                let snapshot = Arc::new(Snapshot::new(catalogue, metrics, uploads, Some(&current)));
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
            }
            Ok(None) => {}
            Err(error) => (self.warn)(&format!("the catalogue has changed and stays as it was: {error}")),
        }
    }
}

fn stamp(folder: &Path) -> Option<Stamp> {
    let metadata = folder.join("catalogue.json").metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
