//! The events that a caller receives while files are fetched: the progress of downloads, and notes for the user.

/// An event while files are fetched.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HubEvent<'a> {
    /// The bytes of a file begin to arrive.
    Started {
        /// The file's path in the model.
        file: &'a str,
        /// The size of the file in bytes, if the server states it.
        size: Option<u64>,
        /// The bytes that an earlier download has left.
        resumed_at: u64,
    },
    /// More bytes of the file have arrived.
    Received {
        /// The number of bytes since the last event.
        bytes: u64,
    },
    /// All bytes of the file have arrived.
    Finished,
    /// A note for the user: the reason of a wait, or that the cache is used because the hub does not answer.
    Note(String),
}
