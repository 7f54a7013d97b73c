//! Errors of finding and downloading models.

use std::path::PathBuf;

use thiserror::Error;

/// Why a model did not come from the hub.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// What was given as a model of the hub is not the name of one.
    #[error("`{given}` names no model of the hub: {reason}. Give hf://owner/name or hf://owner/name@revision")]
    Name {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The input could have been a path or a model, and is neither.
    #[error("there is no file or folder `{input}`, and as a model of the hub: {source}")]
    NeitherFileNorModel {
        /// What was given.
        input: String,
        /// Why it is no model.
        source: Box<HubError>,
    },
    /// An environment variable, or a file that one names, holds something unusable.
    #[error("{variable} cannot be used: {reason}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong and what it should be; never a token.
        reason: String,
    },
    /// The hub does not say whether the model exists.
    #[error(
        "{endpoint} refuses `{repo}` (HTTP {status}): it is private or gated, or it does not exist. Check the name, \
         accept its terms on {endpoint}/{repo} if it has any, and {}",
        if *.token { "replace the token (HF_TOKEN or the token file): it gives no access" }
        else { "set HF_TOKEN to a token that gives access" }
    )]
    Denied {
        /// The server.
        endpoint: String,
        /// The model.
        repo: String,
        /// The HTTP status.
        status: u16,
        /// Whether a token was sent.
        token: bool,
    },
    /// The model, the revision or the file does not exist.
    #[error("{endpoint} has no {what}; {advice}")]
    NotFound {
        /// The server.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What to check.
        advice: &'static str,
    },
    /// The model has no weights in a format that can be read.
    #[error(
        "`{repo}` at {revision} has no weights that can be read: expected one of {}. If it has others, download them \
         yourself and give the file",
        .expected.join(", ")
    )]
    NoWeights {
        /// The model.
        repo: String,
        /// The commit.
        revision: String,
        /// What was looked for.
        expected: Vec<&'static str>,
    },
    /// The cache lacks something and the network may not be used.
    #[error(
        "{variable} is set, and the cache {cache} lacks {missing} of `{repo}` at {revision}; unset {variable} to download \
         it, or set HF_HOME or HF_HUB_CACHE to where it is"
    )]
    NotCached {
        /// The variable that forbids the network.
        variable: &'static str,
        /// What is missing.
        missing: String,
        /// The model.
        repo: String,
        /// The revision.
        revision: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// The server does not answer, or not usefully.
    #[error(
        "{url} cannot be reached: {reason}{}. Check the network (and HF_ENDPOINT, HTTPS_PROXY if set) and run again: \
         what has arrived is kept",
        if *.tries > 1 { format!(" ({tries} tries)") } else { String::new() }
    )]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened, the last time.
        reason: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The server wants fewer requests.
    #[error(
        "{url} is rate limited (HTTP 429, {tries} tries{}). Wait, or set HF_TOKEN for a higher limit, and run again: \
         what has arrived is kept",
        .retry_after.map(|s| format!(", it asks for {s} s")).unwrap_or_default()
    )]
    RateLimited {
        /// What was asked for.
        url: String,
        /// How often it was tried.
        tries: u32,
        /// How many seconds the server asks to wait.
        retry_after: Option<u64>,
    },
    /// The server answered something that the hub does not.
    #[error("{url} does not answer as the hub does: {reason}; check HF_ENDPOINT if it is set")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The index of a model's shards is damaged.
    #[error("{path}: {reason}; download the model again")]
    Index {
        /// The index.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A file of the cache could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file of the cache could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{file} is not the file it should be: expected {expected}, found {found}. {advice}")]
    Mismatch {
        /// The file, its model and its commit.
        file: String,
        /// Its size or SHA-256.
        expected: String,
        /// What it is instead.
        found: String,
        /// What to do.
        advice: String,
    },
}

impl HubError {
    /// Whether the server could not be asked, so that the cache may answer instead.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, HubError::Unreachable { .. } | HubError::RateLimited { .. })
    }

    /// Whether the model itself is in doubt, and not only something in it.
    pub(crate) fn may_be_no_model(&self) -> bool {
        let doubtful = matches!(self, HubError::Denied { .. } | HubError::NotFound { .. } | HubError::NotCached { .. });
        doubtful || self.is_unreachable()
    }
}
