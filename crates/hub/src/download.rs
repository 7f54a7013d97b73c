use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use ureq::http::{StatusCode, header};

use crate::cache::{ModelCache, write_error};
use crate::client::{Client, FileInfo};
use crate::name::is_sha256;
use crate::patience::{Patience, Trouble};
use crate::{HubError, HubEvent};
use mert_fs::sha256_file;

use crate::Result;

const BUFFER: usize = 1 << 18;

/// What a complete file is instead of what it should be.
struct Wrong {
    expected: String,
    found: String,
}

/// Brings a file's bytes into the cache, going on where an earlier download stopped, and gives their SHA-256 if it
/// was checked. They get their name there only when they are complete and right.
pub(crate) fn download(
    client: &Client<'_>,
    cache: &ModelCache,
    repo: &str,
    file: &str,
    info: &FileInfo,
) -> Result<Option<String>> {
    let _lock = cache.lock(&info.etag, || {
        (client.watch)(HubEvent::Note(format!("{file}: waiting for another download of it")));
    })?;
    let blob = cache.blob(&info.etag);
    if blob.is_file() {
        return Ok(None);
    }
    if let Some(folder) = blob.parent() {
        fs::create_dir_all(folder).map_err(|source| write_error(folder, source))?;
    }
    let partial = cache.partial(&info.etag);
    let resumed = fs::metadata(&partial).is_ok_and(|metadata| metadata.len() > 0);
    let mut checked = fetch_and_check(client, &partial, file, info)?;
    if resumed && checked.is_err() {
        // What an earlier run left may have been wrong already.
        (client.watch)(HubEvent::Note(format!("{file}: what was there of it is not right; downloading it anew")));
        checked = fetch_and_check(client, &partial, file, info)?;
    }
    match checked {
        Ok(sha256) => {
            fs::rename(&partial, &blob).map_err(|source| write_error(&blob, source))?;
            Ok(sha256)
        }
        Err(Wrong { expected, found }) => Err(HubError::Mismatch {
            file: format!("`{file}` of `{repo}` at {}", info.commit),
            expected,
            found,
            advice: "The download was discarded; run again, and if it comes out the same, the server is at fault"
                .into(),
        }),
    }
}

/// Completes `partial` and looks whether it is right; if not, it is removed.
fn fetch_and_check(
    client: &Client<'_>,
    partial: &Path,
    file: &str,
    info: &FileInfo,
) -> Result<Result<Option<String>, Wrong>> {
    fetch(client, partial, file, info)?;
    let checked = check(partial, info)?;
    if checked.is_err() {
        fs::remove_file(partial).map_err(|source| write_error(partial, source))?;
    }
    Ok(checked)
}

fn check(partial: &Path, info: &FileInfo) -> Result<Result<Option<String>, Wrong>> {
    let open_error = |source| HubError::Read { path: partial.to_path_buf(), source };
    let length = fs::metadata(partial).map_err(open_error)?.len();
    if let Some(size) = info.size.filter(|size| *size != length) {
        return Ok(Err(Wrong { expected: format!("{size} bytes"), found: format!("{length} bytes") }));
    }
    if !is_sha256(&info.etag) {
        return Ok(Ok(None));
    }
    let found = sha256_file(partial).map_err(open_error)?;
    if found == info.etag {
        return Ok(Ok(Some(found)));
    }
    Ok(Err(Wrong { expected: format!("sha256 {}", info.etag), found: format!("sha256 {found}") }))
}

/// Appends to `partial` until the file is complete, through dropped connections.
fn fetch(client: &Client<'_>, partial: &Path, file: &str, info: &FileInfo) -> Result<()> {
    let mut out =
        File::options().create(true).append(true).open(partial).map_err(|source| write_error(partial, source))?;
    let length =
        |out: &File| out.metadata().map(|metadata| metadata.len()).map_err(|source| write_error(partial, source));
    if info.size.is_some_and(|size| length(&out).is_ok_and(|length| length > size)) {
        out.set_len(0).map_err(|source| write_error(partial, source))?;
    }
    let mut patience = Patience::new(&info.url, client.watch);
    let mut most = length(&out)?;
    while info.size != Some(length(&out)?) {
        if !is_sha256(&info.etag) {
            // What could not be found wrong is not gone on with: it may be the page of another server.
            out.set_len(0).map_err(|source| write_error(partial, source))?;
        }
        let done = fetch_once(client, partial, &mut out, file, info)?;
        let reached = length(&out)?;
        if reached > most {
            (most, _) = (reached, patience.restore());
        }
        match done {
            Ok(()) if info.size.is_none_or(|size| reached >= size) => break,
            Ok(()) => patience.after(Trouble::Broken(format!("the connection closed after {reached} bytes")))?,
            Err(trouble) => patience.after(trouble)?,
        }
    }
    (client.watch)(HubEvent::End);
    out.sync_all().map_err(|source| write_error(partial, source))
}

/// One request: what arrives is appended. The outer error is this machine's, the inner one the network's.
fn fetch_once(
    client: &Client<'_>,
    partial: &Path,
    out: &mut File,
    file: &str,
    info: &FileInfo,
) -> Result<Result<(), Trouble>> {
    let failed = |source| write_error(partial, source);
    let mut start = out.metadata().map_err(failed)?.len();
    let response = match client.get(&info.url, start) {
        Ok(response) => response,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let goes_on = response.status() == StatusCode::PARTIAL_CONTENT && {
        let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
    };
    if start > 0 && !goes_on {
        out.set_len(0).map_err(failed)?;
        start = 0;
    }
    if response.status() != StatusCode::OK && !goes_on {
        return Ok(Err(Trouble::Broken(format!("HTTP {} instead of the rest of the file", response.status()))));
    }
    (client.watch)(HubEvent::Begin { file, size: info.size, have: start });
    // One byte too many is enough to know that it is another file.
    let rest = info.size.map_or(u64::MAX, |size| size.saturating_sub(start).saturating_add(1));
    let mut body = response.into_body().into_reader().take(rest);
    let mut buffer = vec![0; BUFFER];
    loop {
        match body.read(&mut buffer) {
            Ok(0) => return Ok(Ok(())),
            Ok(count) => {
                out.write_all(&buffer[..count]).map_err(failed)?;
                (client.watch)(HubEvent::Received { bytes: count as u64 });
            }
            Err(error) => return Ok(Err(Trouble::Broken(error.to_string()))),
        }
    }
}
