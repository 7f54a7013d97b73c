//! Errors of finding and downloading models. Each knows whether another attempt may succeed.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mert_arch::printable_line;
use thiserror::Error;

/// The longest wait that a server may ask for. The hub counts requests in windows of five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The reason why a model or a file of the hub is not available.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The name of a model or of a file is malformed.
    #[error("invalid name `{}`: {reason}; expected {expected}", printable_line(.given))]
    Name {
        /// The name as given.
        given: String,
        /// The fault.
        reason: &'static str,
        /// The form that it should have.
        expected: &'static str,
    },
    /// The input could have been a path or a model, and neither exists.
    #[error("there is no file or folder `{input}`, and as a model of the hub: {source}")]
    NeitherFileNorModel {
        /// The input as given.
        input: String,
        /// The reason why the model is not available.
        source: Box<HubError>,
    },
    /// An environment variable, or a file that it names, holds an unusable value.
    #[error("{variable} cannot be used: {reason}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// The fault and the expected value; never a token.
        reason: String,
    },
    /// The hub refuses access, and does not say whether the model exists.
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
        /// The missing model, revision or file.
        what: String,
        /// The names to check.
        advice: &'static str,
    },
    /// The model has no such file.
    #[error("`{repo}` at {revision} has no file `{file}`; check its path in the model")]
    NoFile {
        /// The model.
        repo: String,
        /// The commit.
        revision: String,
        /// The file's path in the model.
        file: String,
    },
    /// The model has no weights in a supported format.
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
        /// The file names that were looked for.
        expected: Vec<&'static str>,
    },
    /// A file is not in the cache and the network may not be used.
    #[error(
        "{variable} is set, and the cache {cache} lacks {missing} of `{repo}` at {revision}; unset {variable} to download \
         it, or set HF_HOME or HF_HUB_CACHE to where it is"
    )]
    NotCached {
        /// The variable that forbids the network.
        variable: &'static str,
        /// The missing file.
        missing: String,
        /// The model.
        repo: String,
        /// The revision.
        revision: String,
        /// The cache folder.
        cache: PathBuf,
    },
    /// There is no connection to the server: its name is not found, it refuses, or its certificate is not trusted.
    #[error("{}. {CHECK_NETWORK}{}", unreachable(.uri, .reason, *.attempts), kept(*.is_partial_kept))]
    Unreachable {
        /// The address.
        uri: String,
        /// The reason of the last failure.
        reason: String,
        /// The number of attempts.
        attempts: u32,
        /// Whether a part of the file was downloaded, which the next run continues.
        is_partial_kept: bool,
    },
    /// The server failed, or the connection was lost.
    #[error("{}. {CHECK_NETWORK}{}", interrupted(.uri, .reason, *.attempts), kept(*.is_partial_kept))]
    Interrupted {
        /// The address.
        uri: String,
        /// The reason of the last failure.
        reason: String,
        /// The number of attempts.
        attempts: u32,
        /// Whether a part of the file was downloaded, which the next run continues.
        is_partial_kept: bool,
    },
    /// The server asks for fewer requests.
    #[error(
        "{}. Wait, or set HF_TOKEN for a higher limit, and run again{}",
        rate_limited(.uri, *.retry_after, *.attempts),
        kept(*.is_partial_kept)
    )]
    RateLimited {
        /// The address.
        uri: String,
        /// The wait that the server asks for.
        retry_after: Option<Duration>,
        /// The number of attempts.
        attempts: u32,
        /// Whether a part of the file was downloaded, which the next run continues.
        is_partial_kept: bool,
    },
    /// The server's answer is not one of the hub's.
    #[error("{uri} does not answer as the hub does: {reason}; check HF_ENDPOINT if it is set")]
    Protocol {
        /// The address.
        uri: String,
        /// The fault.
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
        source: io::Error,
    },
    /// A file of the cache could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The size or digest of a file differs from the expected one.
    #[error("{file} is not the file it should be: expected {expected}, found {found}. {advice}")]
    Mismatch {
        /// The file, its model and its commit.
        file: String,
        /// The expected size or SHA-256.
        expected: String,
        /// The size or SHA-256 of the file.
        found: String,
        /// The step that resolves it.
        advice: String,
    },
}

/// Whether a failed request is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry<'a> {
    /// Another attempt would end the same.
    Never,
    /// Another attempt may succeed.
    Later {
        /// The wait that the server asks for; without one, it doubles with each failure.
        wait: Option<Duration>,
        /// The reason of the failure, in a few words.
        reason: &'a str,
    },
}

const CHECK_NETWORK: &str = "Check the network (and HF_ENDPOINT, HTTPS_PROXY if set) and run again";

fn kept(is_partial_kept: bool) -> &'static str {
    if is_partial_kept { "; the partial download is kept" } else { "" }
}

fn unreachable(uri: &str, reason: &str, attempts: u32) -> String {
    format!("{uri} cannot be reached: {reason}{}", in_attempts(attempts))
}

fn interrupted(uri: &str, reason: &str, attempts: u32) -> String {
    format!("{uri} failed: {reason}{}", in_attempts(attempts))
}

fn in_attempts(attempts: u32) -> String {
    if attempts > 1 { format!(" ({attempts} attempts)") } else { String::new() }
}

fn rate_limited(uri: &str, retry_after: Option<Duration>, attempts: u32) -> String {
    let attempts = if attempts > 1 { format!(", {attempts} attempts") } else { String::new() };
    let wait = retry_after.map(|wait| format!(", it asks for {} s", wait.as_secs())).unwrap_or_default();
    format!("{uri} is rate limited (HTTP 429{attempts}{wait})")
}

impl HubError {
    /// Whether the server gave no answer, so that the cache may answer instead.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, HubError::Unreachable { .. } | HubError::Interrupted { .. } | HubError::RateLimited { .. })
    }

    /// The message without the advice to run again, for a note that the cache answers instead.
    pub(crate) fn without_advice(&self) -> String {
        match self {
            HubError::Unreachable { uri, reason, attempts, .. } => unreachable(uri, reason, *attempts),
            HubError::Interrupted { uri, reason, attempts, .. } => interrupted(uri, reason, *attempts),
            HubError::RateLimited { uri, retry_after, attempts, .. } => rate_limited(uri, *retry_after, *attempts),
            other => other.to_string(),
        }
    }

    /// Whether another attempt at the request may succeed.
    pub(crate) fn retry(&self) -> Retry<'_> {
        match self {
            HubError::Unreachable { reason, .. } | HubError::Interrupted { reason, .. } => {
                Retry::Later { wait: None, reason }
            }
            HubError::RateLimited { retry_after: Some(wait), .. } if *wait > LONGEST_WAIT => Retry::Never,
            HubError::RateLimited { retry_after, .. } => {
                Retry::Later { wait: *retry_after, reason: "too many requests" }
            }
            _ => Retry::Never,
        }
    }

    /// The error with the number of attempts that it ended.
    pub(crate) fn after_attempts(mut self, count: u32) -> HubError {
        if let HubError::Unreachable { attempts, .. }
        | HubError::Interrupted { attempts, .. }
        | HubError::RateLimited { attempts, .. } = &mut self
        {
            *attempts = count;
        }
        self
    }

    /// The error of a download that has left a part of the file for the next run.
    pub(crate) fn with_partial_kept(mut self) -> HubError {
        if let HubError::Unreachable { is_partial_kept, .. }
        | HubError::Interrupted { is_partial_kept, .. }
        | HubError::RateLimited { is_partial_kept, .. } = &mut self
        {
            *is_partial_kept = true;
        }
        self
    }

    /// Whether the model itself may not exist, as opposed to a file in it.
    pub(crate) fn is_model_in_doubt(&self) -> bool {
        self.is_unreachable()
            || matches!(self, HubError::Denied { .. } | HubError::NotFound { .. } | HubError::NotCached { .. })
    }

    pub(crate) fn name(given: &str, reason: &'static str, expected: &'static str) -> HubError {
        HubError::Name { given: given.to_string(), reason, expected }
    }

    pub(crate) fn unreachable(uri: &impl Display, reason: String) -> HubError {
        HubError::Unreachable { uri: uri.to_string(), reason, attempts: 1, is_partial_kept: false }
    }

    pub(crate) fn interrupted(uri: &impl Display, reason: impl Into<String>) -> HubError {
        HubError::Interrupted { uri: uri.to_string(), reason: reason.into(), attempts: 1, is_partial_kept: false }
    }

    pub(crate) fn protocol(uri: &impl Display, reason: impl Into<String>) -> HubError {
        HubError::Protocol { uri: uri.to_string(), reason: reason.into() }
    }

    pub(crate) fn not_found(endpoint: &impl Display, what: String, advice: &'static str) -> HubError {
        HubError::NotFound { endpoint: endpoint.to_string(), what, advice }
    }

    pub(crate) fn index(path: &Path, reason: impl Into<String>) -> HubError {
        HubError::Index { path: path.to_path_buf(), reason: reason.into() }
    }

    /// A conversion for `map_err` of an operating system's error while `path` was read.
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> HubError + '_ {
        |source| HubError::Read { path: path.to_path_buf(), source }
    }

    /// A conversion for `map_err` of an operating system's error while `path` was written.
    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> HubError + '_ {
        |source| HubError::Write { path: path.to_path_buf(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worth_another_attempt() {
        let rate_limited = |seconds: u64| HubError::RateLimited {
            uri: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
            attempts: 1,
            is_partial_kept: false,
        };
        let wait = |error: HubError| match error.retry() {
            Retry::Later { wait, .. } => Some(wait),
            Retry::Never => None,
        };
        assert_eq!(wait(HubError::interrupted(&"u", "HTTP 500")), Some(None));
        assert_eq!(wait(rate_limited(300)), Some(Some(Duration::from_secs(300))));
        assert_eq!(wait(rate_limited(301)), None);
        assert_eq!(wait(HubError::protocol(&"u", "HTTP 404")), None);
        assert_eq!(wait(HubError::write("x".as_ref())(io::ErrorKind::StorageFull.into())), None);
    }
}
