//! A local server that answers as the Hugging Face hub does, with a second one (the CDN) for the bytes of large files.
//! Requests can be made to fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

/// The commit of every model on this server.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A received request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Whether it was sent to the CDN.
    pub(crate) cdn: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// The failure of a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// A status with headers, without a body.
    Status(u16, String),
    /// A connection that closes after this many bytes of the body.
    Drop(usize),
    /// A pause after this many bytes of the body.
    Stall(usize, Duration),
    /// The whole file in response to a range request.
    IgnoreRange,
    /// Wrong bytes of the right number.
    Corrupt,
    /// A malformed ETag.
    Etag(String),
}

/// The requests that fail, and how.
struct Planned {
    method: &'static str,
    file: String,
    times: usize,
    fault: Fault,
}

#[derive(Default)]
struct State {
    /// The files of each model.
    models: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The new name of each renamed model.
    renamed: BTreeMap<String, String>,
    token: Option<String>,
    faults: Vec<Planned>,
    requests: Vec<Request>,
}

/// The running server.
pub(crate) struct HubServer {
    pub(crate) url: String,
    pub(crate) cdn: String,
    state: Arc<Mutex<State>>,
}

impl HubServer {
    pub(crate) fn start() -> Arc<HubServer> {
        let (hub, cdn) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let server = Arc::new(HubServer {
            url: format!("http://{}", hub.local_addr().unwrap()),
            cdn: format!("http://localhost:{}", cdn.local_addr().unwrap().port()),
            state: Arc::default(),
        });
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let server = Arc::clone(&server);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let server = Arc::clone(&server);
                    // A client may close the connection.
                    thread::spawn(move || server.answer(stream, is_cdn).ok());
                }
            });
        }
        server
    }

    pub(crate) fn add(&self, repo: &str, file: &str, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.models.entry(repo.into()).or_default().insert(file.into(), bytes.to_vec());
    }

    pub(crate) fn rename(&self, old: &str, new: &str) {
        self.state.lock().unwrap().renamed.insert(old.into(), new.into());
    }

    /// Refuses requests without this token from now on.
    pub(crate) fn require_token(&self, token: &str) {
        self.state.lock().unwrap().token = Some(token.into());
    }

    /// Makes the next `times` requests of this kind fail.
    pub(crate) fn fail(&self, method: &'static str, file: &str, times: usize, fault: Fault) {
        self.state.lock().unwrap().faults.push(Planned { method, file: file.into(), times, fault });
    }

    /// Forgets the failures that have not been used.
    pub(crate) fn clear_faults(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    fn answer(&self, stream: TcpStream, cdn: bool) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_string);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut request = Request { cdn, method, path, range: None, authorization: None };
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "range" => request.range = Some(value.trim().into()),
                "authorization" => request.authorization = Some(value.trim().into()),
                _ => {}
            }
        }
        self.state.lock().unwrap().requests.push(request.clone());
        if cdn { self.answer_cdn(stream, &request) } else { self.answer_hub(stream, &request) }
    }

    fn answer_hub(&self, mut stream: TcpStream, request: &Request) -> std::io::Result<()> {
        let parts: Vec<&str> = request.path.trim_start_matches('/').splitn(5, '/').collect();
        let [owner, name, "resolve", revision, file] = parts[..] else {
            return status(&mut stream, 404, "");
        };
        let (repo, commit) = (format!("{owner}/{name}"), format!("X-Repo-Commit: {COMMIT}\r\n"));
        let fault = self.fault(&request.method, file);
        let state = self.state.lock().unwrap();
        let allowed = state.token.as_ref().is_none_or(|token| request.authorization == Some(format!("Bearer {token}")));
        let bytes = match fault.clone() {
            Some(Fault::Status(code, headers)) => return status(&mut stream, code, &headers),
            _ if !allowed => return status(&mut stream, 401, "X-Error-Code: RepoNotFound\r\n"),
            _ => match (state.renamed.get(&repo), state.models.get(&repo)) {
                (Some(new), _) => {
                    let location = format!("Location: /{new}/resolve/{revision}/{file}\r\n");
                    return status(&mut stream, 307, &location);
                }
                (None, None) => return status(&mut stream, 404, "X-Error-Code: RepoNotFound\r\n"),
                _ if !["main", "v1%2Fx", COMMIT, PINNED].contains(&revision) => {
                    return status(&mut stream, 404, "X-Error-Code: RevisionNotFound\r\n");
                }
                (None, Some(model)) => match model.get(file) {
                    Some(bytes) => bytes.clone(),
                    None => return status(&mut stream, 404, &format!("X-Error-Code: EntryNotFound\r\n{commit}")),
                },
            },
        };
        drop(state);
        let commit = if revision == PINNED { format!("X-Repo-Commit: {PINNED}\r\n") } else { commit };
        if file.ends_with(".json") {
            let headers = format!("{commit}ETag: \"{}\"\r\n", &sha256(&bytes)[..40]);
            return send(&mut stream, request, &bytes, &headers, fault);
        }
        let etag = match fault {
            Some(Fault::Etag(etag)) => etag,
            _ => sha256(&bytes),
        };
        let headers = format!(
            "{commit}X-Linked-Etag: \"{etag}\"\r\nX-Linked-Size: {}\r\nETag: \"of the redirection\"\r\n\
             Location: {}/{repo}/{file}?signature=1\r\n",
            bytes.len(),
            self.cdn,
        );
        status(&mut stream, 302, &headers)
    }

    fn answer_cdn(&self, mut stream: TcpStream, request: &Request) -> std::io::Result<()> {
        let path = request.path.trim_start_matches('/').split('?').next().unwrap_or_default();
        // owner/name/file, where the file may be in a folder.
        let slash = path.match_indices('/').nth(1).map(|(at, _)| at);
        let (repo, file) = slash.map(|at| (&path[..at], &path[at + 1..])).unwrap_or_default();
        let fault = self.fault("CDN", file);
        let bytes = self.state.lock().unwrap().models.get(repo).and_then(|model| model.get(file)).cloned();
        match (bytes, fault) {
            (_, Some(Fault::Status(code, headers))) => status(&mut stream, code, &headers),
            (Some(bytes), fault) => send(&mut stream, request, &bytes, "", fault),
            (None, _) => status(&mut stream, 404, ""),
        }
    }

    fn fault(&self, method: &str, file: &str) -> Option<Fault> {
        let mut state = self.state.lock().unwrap();
        let matches = |planned: &&mut Planned| planned.times > 0 && planned.method == method && planned.file == file;
        let planned = state.faults.iter_mut().find(matches)?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }
}

/// The commit of the first published checkpoint.
pub(crate) const PINNED: &str = match mert_arch::KNOWN_CHECKPOINTS[0].revision {
    Some(revision) => revision,
    None => panic!("the first one is on the hub"),
};

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn status(stream: &mut TcpStream, code: u16, headers: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {code} Status\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
}

fn send(
    stream: &mut TcpStream,
    request: &Request,
    bytes: &[u8],
    headers: &str,
    fault: Option<Fault>,
) -> std::io::Result<()> {
    let start = request.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let start: usize = if matches!(fault, Some(Fault::IgnoreRange)) { 0 } else { start.unwrap_or(0) };
    if start > 0 && start >= bytes.len() {
        return status(stream, 416, "");
    }
    let mut body = bytes[start..].to_vec();
    let range = format!("Content-Range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len());
    let (code, range) = if start > 0 { (206, range.as_str()) } else { (200, "") };
    let length = body.len();
    write!(stream, "HTTP/1.1 {code} Status\r\n{headers}{range}Content-Length: {length}\r\nConnection: close\r\n\r\n")?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(Fault::Drop(count)) => body.truncate(count),
        Some(Fault::Corrupt) => body.iter_mut().for_each(|byte| *byte ^= 1),
        Some(Fault::Stall(count, duration)) => {
            let rest = body.split_off(count);
            stream.write_all(&body)?;
            stream.flush()?;
            thread::sleep(duration);
            body = rest;
        }
        _ => {}
    }
    stream.write_all(&body)
}
