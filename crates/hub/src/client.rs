use std::io::ErrorKind;
use std::time::Duration;

use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, ResponseExt};

use crate::name::is_commit;
use crate::patience::{Patience, Trouble};
use crate::{HubError, HubEvent, HubSettings};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a single read: a download as a whole may take as long as it takes.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MOST_REDIRECTS: usize = 5;

/// Asks the hub about one model.
pub(crate) struct Client<'a> {
    agent: Agent,
    settings: &'a HubSettings,
    repo: &'a str,
    pub(crate) watch: &'a dyn Fn(HubEvent<'_>),
}

/// What the hub says about a file.
#[derive(Debug)]
pub(crate) struct FileInfo {
    /// Where it is to be had.
    pub(crate) url: String,
    /// The commit that the revision is.
    pub(crate) commit: String,
    /// The name of its bytes: their SHA-256 if they are in git LFS.
    pub(crate) etag: String,
    pub(crate) size: Option<u64>,
}

/// What the hub says when asked for a file.
#[derive(Debug)]
pub(crate) enum Answer {
    File(FileInfo),
    /// The commit, where the hub says it, has no such file.
    NoFile {
        commit: Option<String>,
    },
}

impl<'a> Client<'a> {
    pub(crate) fn new(settings: &'a HubSettings, repo: &'a str, watch: &'a dyn Fn(HubEvent<'_>)) -> Client<'a> {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // The system's authorities: companies add their own.
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .https_only(settings.endpoint.starts_with("https://"))
            .user_agent(concat!("mert-convert/", env!("CARGO_PKG_VERSION")))
            // The bytes of the file itself: ranges and sizes count them.
            .accept_encoding("identity")
            // Downloads are redirected to other hosts, which the token is no business of.
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .max_redirects(MOST_REDIRECTS as u32)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .timeout_per_write(Some(READ_TIMEOUT))
            .build();
        Client { agent: Agent::new_with_config(agent), settings, repo, watch }
    }

    /// What `file` is at `revision`.
    pub(crate) fn look_up(&self, revision: &str, file: &str) -> Result<Answer, HubError> {
        let mut url = format!("{}/{}/resolve/{}/{}", self.settings.endpoint, self.repo, escape(revision), escape(file));
        let mut headers = Headers::default();
        for _ in 0..=MOST_REDIRECTS {
            let response = self.head(&url)?;
            if response.status() == StatusCode::NOT_FOUND {
                return self.not_found(&response, revision, file);
            }
            headers.add(&response);
            // On the hub itself a renamed model is redirected, and so are small files; that needs the token.
            match self.redirected(&url, &response) {
                Some(to) => url = to,
                None => return headers.file_info(url).map(Answer::File),
            }
        }
        Err(protocol(&url, "it is redirected again and again"))
    }

    /// The bytes of a file from `start` on. The answer may be the whole file nevertheless.
    pub(crate) fn get(&self, url: &str, start: u64) -> Result<Response<Body>, Trouble> {
        let mut request = self.agent.get(url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        if let Some(token) = self.token_for(url) {
            request = request.header(header::AUTHORIZATION, token);
        }
        let response = request.call().map_err(trouble)?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(Trouble::Final(protocol(url, "the file is listed and not there (HTTP 404)"))),
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
            // Elsewhere it is a link that has expired; the next try gets a new one.
            StatusCode::FORBIDDEN if !self.is_endpoint(&response.get_uri().to_string()) => {
                Err(Trouble::Broken("the link to the file is refused (HTTP 403)".into()))
            }
            _ => self.check_status(url, response),
        }
    }

    fn head(&self, url: &str) -> Result<Response<Body>, HubError> {
        let mut patience = Patience::new(url, self.watch);
        loop {
            let mut request = self.agent.head(url).config().max_redirects(0).build();
            if let Some(token) = self.token_for(url) {
                request = request.header(header::AUTHORIZATION, token);
            }
            let answer = request.call().map_err(trouble).and_then(|response| match response.status() {
                StatusCode::NOT_FOUND => Ok(response),
                _ => self.check_status(url, response),
            });
            match answer {
                Ok(response) => return Ok(response),
                // Who is not online wants the cache, and not to wait for it.
                Err(Trouble::NoServer(reason)) => {
                    return Err(HubError::Unreachable { url: url.to_string(), reason, tries: 1 });
                }
                Err(trouble) => patience.after(trouble)?,
            }
        }
    }

    fn check_status(&self, url: &str, response: Response<Body>) -> Result<Response<Body>, Trouble> {
        let status = response.status();
        match status.as_u16() {
            200..=399 => Ok(response),
            401 | 403 => Err(Trouble::Final(HubError::Denied {
                endpoint: self.settings.endpoint.clone(),
                repo: self.repo.to_string(),
                status: status.as_u16(),
                token: self.settings.token.is_some(),
            })),
            429 => {
                let seconds = header_text(&response, "retry-after").and_then(|seconds| seconds.trim().parse().ok());
                Err(Trouble::Busy(seconds))
            }
            408 | 500..=599 => Err(Trouble::Broken(format!("HTTP {status}"))),
            _ => Err(Trouble::Final(protocol(url, &format!("HTTP {status}")))),
        }
    }

    fn not_found(&self, response: &Response<Body>, revision: &str, file: &str) -> Result<Answer, HubError> {
        let endpoint = self.settings.endpoint.clone();
        let repo = self.repo;
        match header_text(response, "x-error-code") {
            Some("RepoNotFound") => Err(HubError::NotFound {
                endpoint,
                what: format!("model `{repo}`"),
                advice: "check owner and name, and set HF_TOKEN if it is private",
            }),
            Some("RevisionNotFound") => Err(HubError::NotFound {
                endpoint,
                what: format!("revision `{revision}` of the model `{repo}`"),
                advice: "give a branch, a tag or a commit that it has",
            }),
            _ => {
                let commit = header_text(response, "x-repo-commit").filter(|commit| is_commit(commit));
                // Without a name for what is missing it may be the model, the revision or the file.
                if commit.is_none() && header_text(response, "x-error-code").is_none() && !is_commit(revision) {
                    return Err(HubError::NotFound {
                        endpoint,
                        what: format!("`{file}` at revision `{revision}` of a model `{repo}`"),
                        advice: "check all three",
                    });
                }
                Ok(Answer::NoFile { commit: commit.map(str::to_string) })
            }
        }
    }

    /// Where the answer sends on to on the hub itself.
    fn redirected(&self, url: &str, response: &Response<Body>) -> Option<String> {
        let location = header_text(response, "location").filter(|_| response.status().is_redirection())?;
        let relative = location.starts_with('/') && !location.starts_with("//");
        let to = if relative { format!("{}{location}", origin(url)) } else { location.to_string() };
        self.is_endpoint(&to).then_some(to)
    }

    /// The value of the header `Authorization`: nothing for any other host than the hub's.
    fn token_for(&self, url: &str) -> Option<String> {
        let token = self.settings.token.as_ref()?;
        self.is_endpoint(url).then(|| format!("Bearer {}", token.reveal()))
    }

    fn is_endpoint(&self, url: &str) -> bool {
        origin(url) == origin(&self.settings.endpoint)
    }
}

/// What the answers to one question have said; what a later one says counts.
#[derive(Default)]
struct Headers {
    commit: Option<String>,
    linked_etag: Option<String>,
    etag: Option<String>,
    linked_size: Option<u64>,
    length: Option<u64>,
}

impl Headers {
    fn add(&mut self, response: &Response<Body>) {
        let text = |name| header_text(response, name).map(str::to_string);
        let number = |name| header_text(response, name)?.trim().parse().ok();
        self.commit = text("x-repo-commit").or(self.commit.take());
        self.linked_etag = text("x-linked-etag").or(self.linked_etag.take());
        self.etag = text("etag").or(self.etag.take());
        self.linked_size = number("x-linked-size").or(self.linked_size);
        // The length of a redirection is that of its text.
        self.length = number("content-length").filter(|_| response.status().is_success());
    }

    fn file_info(self, url: String) -> Result<FileInfo, HubError> {
        let Some(commit) = self.commit.filter(|commit| is_commit(commit)) else {
            return Err(protocol(&url, "its header X-Repo-Commit is missing, or no commit"));
        };
        let etag = self.linked_etag.or(self.etag).unwrap_or_default();
        let etag = etag.trim_start_matches("W/").trim_matches('"');
        // It becomes the name of a file.
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if etag.is_empty() || etag.len() > 128 || !etag.chars().all(legal) {
            return Err(protocol(&url, "its header ETag is missing, or no name for a file"));
        }
        Ok(FileInfo { commit, etag: etag.to_string(), size: self.linked_size.or(self.length), url })
    }
}

/// `https://host:port` of an address.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// What the address of a file cannot hold in one step of its path; the hub wants a revision's slashes escaped, too.
fn escape(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

fn header_text<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

fn protocol(url: &str, reason: &str) -> HubError {
    HubError::Protocol { url: url.to_string(), reason: reason.to_string() }
}

fn trouble(error: Error) -> Trouble {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
    let reason = error.to_string();
    // Of names that are not found and certificates that are not trusted, the kind says nothing.
    let broken = match error {
        Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof | WouldBlock
        ),
        Error::Timeout(timeout) => !matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve),
        Error::Protocol(_) => true,
        _ => false,
    };
    if broken { Trouble::Broken(reason) } else { Trouble::NoServer(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("https://a.b:1/c"), "https://a.b:1");
        assert_eq!(origin("https://a.b?c"), "https://a.b");
        assert_eq!(origin("https://a.b"), "https://a.b");
        assert_ne!(origin("https://a.b.evil/x"), origin("https://a.b"));
        assert_ne!(origin("https://a.b@evil/x"), origin("https://a.b"));
        assert_ne!(origin("http://a.b/x"), origin("https://a.b"));
    }

    #[test]
    fn escapes() {
        assert_eq!(escape("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(escape("v1+ä#%.bin"), "v1%2B%C3%A4%23%25.bin");
    }
}
