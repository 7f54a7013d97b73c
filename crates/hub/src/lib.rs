//! Models of the Hugging Face hub as inputs: `m-a-p/MERT-v1-95M`, with the cache that every client of the hub shares.
//!
//! [`fetch`] finds a model's files in the cache, or downloads them there, and checks them.

mod cache;
mod client;
mod download;
mod error;
mod fetch;
mod name;
mod patience;
mod settings;

use std::path::PathBuf;

pub use error::HubError;
pub use fetch::fetch;
pub use name::HubName;
pub use settings::{HubSettings, Token};

/// What happens on the way.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HubEvent<'a> {
    /// The bytes of a file begin to arrive.
    Begin {
        /// Its name.
        file: &'a str,
        /// Its size, if the server says it.
        size: Option<u64>,
        /// How much of it is already there.
        have: u64,
    },
    /// More of it has arrived.
    Received {
        /// How many bytes.
        bytes: u64,
    },
    /// It is complete.
    End,
    /// Something a user may want to know: what is waited for, or that the cache is used as the hub does not answer.
    Note(String),
}

/// A model of the hub on this machine.
#[derive(Debug, Clone)]
pub struct HubModel {
    /// Owner and name.
    pub repo: String,
    /// The commit.
    pub commit: String,
    /// The weights, or the index of their shards, with `config.json` beside it.
    pub weights: PathBuf,
    /// The SHA-256 of each file with weights, in the order of their names, where it was checked.
    sha256: Vec<Option<String>>,
}

impl HubModel {
    /// The SHA-256 of each file with weights, in the order of their names; `None` unless all were checked.
    pub fn sha256(&self) -> Option<Vec<String>> {
        self.sha256.iter().cloned().collect()
    }
}

pub(crate) type Result<T, E = HubError> = std::result::Result<T, E>;
