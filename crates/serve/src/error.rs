//! Errors of starting and running the server. Errors of single requests are in `api/error.rs`.

use std::io;
use std::net::SocketAddr;

use mert_search::SearchError;
use thiserror::Error;

/// The reason why the server cannot start or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The catalogue cannot be opened.
    #[error(transparent)]
    Catalogue(#[from] SearchError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}. Choose another port with --port")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The threads or sockets of the server failed.
    #[error("the server failed: {0}")]
    Io(#[from] io::Error),
}
