//! Models of the Hugging Face hub as inputs: `m-a-p/MERT-v1-95M`, with the cache that every client of the hub shares.
//!
//! [`open`] finds a model's files in the cache or downloads them there, checks them, and opens the checkpoint.

mod cache;
mod client;
mod download;
mod error;
mod fetch;
mod name;
mod patience;
mod settings;

use std::path::PathBuf;

use crate::digest;
use crate::{Result, Source};

pub use error::HubError;
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
    checked: Vec<Option<String>>,
}

/// Finds a model in the cache, or downloads it there, and opens its checkpoint; `key` is that of
/// [`Source::open_key`]. `watch` hears what happens.
///
/// # Errors
/// [`crate::ConvertError::Hub`] if the model cannot be had or is not what it should be; else what
/// [`Source::open_key`] reports.
pub fn open(
    name: &HubName,
    settings: &HubSettings,
    key: Option<&str>,
    watch: &dyn Fn(HubEvent<'_>),
) -> Result<(HubModel, Source)> {
    let model = fetch::fetch(name, settings, watch)?;
    let mut source = Source::open_key(&model.weights, key)?;
    let checked: Option<Vec<String>> = model.checked.iter().cloned().collect();
    if let Some(checked) = checked.filter(|checked| checked.len() == source.files.len()) {
        source.trust_sha256(&digest::combine(checked))?;
    }
    Ok((model, source))
}
