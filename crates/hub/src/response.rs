//! The meaning of the hub's responses: statuses and network failures as errors, and headers as facts about a file.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::http::{Response, Uri};
use ureq::{Body, Error};

use crate::name::is_commit;
use crate::{Endpoint, HubError, HubSettings, Result};

/// The facts about a file that precede its bytes.
#[derive(Debug)]
pub(crate) struct FileInfo {
    /// The address of the bytes.
    pub(crate) uri: Uri,
    /// The commit of the revision.
    pub(crate) commit: String,
    /// The name of the bytes in the cache: their SHA-256 if they are in git LFS.
    pub(crate) etag: String,
    /// The number of bytes, if the hub states it.
    pub(crate) size: Option<u64>,
}

/// The result of looking up a file at a revision.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The file exists.
    File(FileInfo),
    /// The revision has no such file. `commit` is the revision's, where the hub states it.
    NoFile { commit: Option<String> },
}

/// The headers of the responses to one lookup. A later response takes precedence.
#[derive(Default)]
pub(crate) struct FileHeaders {
    commit: Option<String>,
    linked_etag: Option<String>,
    etag: Option<String>,
    linked_size: Option<u64>,
    length: Option<u64>,
}

impl FileHeaders {
    pub(crate) fn add(&mut self, response: &Response<Body>) {
        let text = |name| header_text(response, name).map(str::to_string);
        let number = |name| header_text(response, name)?.trim().parse().ok();
        self.commit = text("x-repo-commit").or(self.commit.take());
        self.linked_etag = text("x-linked-etag").or(self.linked_etag.take());
        self.etag = text("etag").or(self.etag.take());
        self.linked_size = number("x-linked-size").or(self.linked_size);
        // The length of a redirection is that of its own text.
        self.length = number("content-length").filter(|_| response.status().is_success());
    }

    /// The facts about the file at `uri`.
    ///
    /// # Errors
    /// [`HubError::Protocol`] if a header is missing or cannot be used.
    pub(crate) fn file_info(self, uri: Uri) -> Result<FileInfo> {
        let Some(commit) = self.commit.filter(|commit| is_commit(commit)) else {
            return Err(HubError::protocol(&uri, "its header X-Repo-Commit is missing or not a commit"));
        };
        let etag = self.linked_etag.or(self.etag).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        // It becomes the name of a file.
        let is_legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if etag.is_empty() || etag.len() > 128 || !etag.chars().all(is_legal) {
            return Err(HubError::protocol(&uri, "its header ETag is missing or not usable as a file name"));
        }
        Ok(FileInfo { commit, etag: etag.to_string(), size: self.linked_size.or(self.length), uri })
    }
}

/// A header's value, if it is text.
pub(crate) fn header_text<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// Turns the status of a failed request into an error.
pub(crate) fn check_status(
    uri: &Uri,
    response: Response<Body>,
    settings: &HubSettings,
    repo: &str,
) -> Result<Response<Body>> {
    let status = response.status();
    Err(match status.as_u16() {
        200..=399 => return Ok(response),
        401 | 403 => HubError::Denied {
            endpoint: settings.endpoint.to_string(),
            repo: repo.to_string(),
            status: status.as_u16(),
            token: settings.token.is_some(),
        },
        429 => {
            let seconds = header_text(&response, "retry-after").and_then(|seconds| seconds.trim().parse().ok());
            HubError::RateLimited {
                uri: uri.to_string(),
                retry_after: seconds.map(Duration::from_secs),
                attempts: 1,
                is_partial_kept: false,
            }
        }
        408 | 500..=599 => HubError::interrupted(uri, format!("HTTP {status}")),
        _ => HubError::protocol(uri, format!("HTTP {status}")),
    })
}

/// Distinguishes a missing file from a missing model or revision: all of them are HTTP 404.
///
/// # Errors
/// [`HubError::NotFound`] unless the file alone is missing.
pub(crate) fn not_found(
    response: &Response<Body>,
    endpoint: &Endpoint,
    repo: &str,
    revision: &str,
    file: &str,
) -> Result<Lookup> {
    let code = header_text(response, "x-error-code");
    let commit = header_text(response, "x-repo-commit").filter(|commit| is_commit(commit));
    let (what, advice) = match code {
        Some("RepoNotFound") => (format!("model `{repo}`"), "check owner and name, and set HF_TOKEN if it is private"),
        Some("RevisionNotFound") => {
            (format!("revision `{revision}` of the model `{repo}`"), "give a branch, a tag or a commit that it has")
        }
        // Without an error code the model, the revision or the file may be missing.
        None if commit.is_none() && !is_commit(revision) => {
            (format!("`{file}` at revision `{revision}` of a model `{repo}`"), "check all three")
        }
        _ => return Ok(Lookup::NoFile { commit: commit.map(str::to_string) }),
    };
    Err(HubError::not_found(endpoint, what, advice))
}

/// Turns a failure of the network into an error.
pub(crate) fn network_error(uri: &Uri, error: Error) -> HubError {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    let reason = match &error {
        // Without ureq's prefix `io: `.
        Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    // Other kinds also cover names that are not found and certificates that are not trusted.
    let is_interrupted = match error {
        Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof | WouldBlock
        ),
        Error::Timeout(timeout) => !matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve),
        Error::Protocol(_) => true,
        _ => false,
    };
    if is_interrupted { HubError::interrupted(uri, reason) } else { HubError::unreachable(uri, reason) }
}
