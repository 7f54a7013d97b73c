//! The download of a file's bytes into the cache: resumed where an earlier one stopped, and checked before the bytes get
//! their name.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;

use mert_fs::{is_sha256, sha256_file};
use ureq::http::{StatusCode, header};

use crate::cache::ModelCache;
use crate::client::Client;
use crate::response::FileInfo;
use crate::retry::Attempts;
use crate::{HubError, HubEvent, Result};

const BUFFER: usize = 1 << 18;

/// The download of one file.
pub(crate) struct Download<'a> {
    client: &'a Client<'a>,
    cache: &'a ModelCache,
    repo: &'a str,
    file: &'a str,
    info: &'a FileInfo,
    /// The path of the bytes until they are complete and checked.
    partial: PathBuf,
}

impl<'a> Download<'a> {
    pub(crate) fn new(
        client: &'a Client<'a>,
        cache: &'a ModelCache,
        repo: &'a str,
        file: &'a str,
        info: &'a FileInfo,
    ) -> Download<'a> {
        Download { client, cache, repo, file, info, partial: cache.partial(&info.etag) }
    }

    /// Downloads the bytes unless the cache has them, and returns their SHA-256 if it was checked.
    ///
    /// # Errors
    /// [`HubError`]. The partial download is kept, unless its bytes are wrong.
    pub(crate) fn run(&self) -> Result<Option<String>> {
        let _lock = self.cache.lock(&self.info.etag, || {
            self.note(format!("{}: waiting for another download of it", self.file));
        })?;
        let blob = self.cache.blob(&self.info.etag);
        if blob.is_file() {
            return Ok(None);
        }
        if let Some(folder) = blob.parent() {
            fs::create_dir_all(folder).map_err(HubError::write(folder))?;
        }
        let is_resumed = fs::metadata(&self.partial).is_ok_and(|metadata| metadata.len() > 0);
        let sha256 = match self.complete_and_check() {
            // The bytes of an earlier run may have been wrong already.
            Err(HubError::Mismatch { .. }) if is_resumed => {
                self.note(format!("{}: its incomplete download is damaged; downloading it again", self.file));
                self.complete_and_check()?
            }
            other => other?,
        };
        fs::rename(&self.partial, &blob).map_err(HubError::write(&blob))?;
        Ok(sha256)
    }

    fn note(&self, text: String) {
        (self.client.on_event)(HubEvent::Note(text));
    }

    /// Completes the partial file and checks it; removes it if it is wrong.
    fn complete_and_check(&self) -> Result<Option<String>> {
        self.complete()?;
        let checked = self.check();
        if matches!(checked, Err(HubError::Mismatch { .. })) {
            fs::remove_file(&self.partial).map_err(HubError::write(&self.partial))?;
        }
        checked
    }

    fn check(&self) -> Result<Option<String>> {
        let FileInfo { etag, size, .. } = self.info;
        let length = fs::metadata(&self.partial).map_err(HubError::read(&self.partial))?.len();
        if let Some(size) = size.filter(|size| *size != length) {
            return Err(self.mismatch(format!("{size} bytes"), format!("{length} bytes")));
        }
        if !is_sha256(etag) {
            return Ok(None);
        }
        let found = sha256_file(&self.partial).map_err(HubError::read(&self.partial))?;
        if found != *etag {
            return Err(self.mismatch(format!("sha256 {etag}"), format!("sha256 {found}")));
        }
        Ok(Some(found))
    }

    fn mismatch(&self, expected: String, found: String) -> HubError {
        let file = format!("`{}` of `{}` at {}", self.file, self.repo, self.info.commit);
        let advice =
            "The download was discarded; run again, and if the result is the same, the server is at fault".into();
        HubError::Mismatch { file, expected, found, advice }
    }

    /// Appends to the partial file until it is complete, through dropped connections.
    fn complete(&self) -> Result<()> {
        let FileInfo { uri, etag, size, .. } = self.info;
        let write_error = HubError::write(&self.partial);
        let mut out = File::options().create(true).append(true).open(&self.partial).map_err(&write_error)?;
        if size.is_some_and(|size| length(&out).is_ok_and(|length| length > size)) {
            out.set_len(0).map_err(&write_error)?;
        }
        let mut attempts = Attempts::new(uri, self.client.on_event);
        let mut longest = length(&out).map_err(&write_error)?;
        while *size != Some(length(&out).map_err(&write_error)?) {
            if !is_sha256(etag) {
                // Without a digest a resumed file cannot be checked: its beginning may be another server's page.
                out.set_len(0).map_err(&write_error)?;
            }
            let requested = self.request(&mut out);
            let reached = length(&out).map_err(&write_error)?;
            if reached > longest {
                longest = reached;
                attempts.reset();
            }
            // Without a digest the next run starts from the beginning.
            let is_kept = reached > 0 && is_sha256(etag);
            let kept = |error: HubError| if is_kept { error.with_partial_kept() } else { error };
            match requested {
                Ok(()) if size.is_none_or(|size| reached >= size) => break,
                Ok(()) => {
                    let reason = format!("the connection closed after {reached} bytes");
                    attempts.wait_after(HubError::interrupted(uri, reason)).map_err(kept)?;
                }
                Err(error) => attempts.wait_after(error).map_err(kept)?,
            }
        }
        (self.client.on_event)(HubEvent::Finished);
        out.sync_all().map_err(&write_error)
    }

    /// Makes one request and appends the bytes that arrive.
    fn request(&self, out: &mut File) -> Result<()> {
        let FileInfo { uri, size, .. } = self.info;
        let write_error = HubError::write(&self.partial);
        let mut start = length(out).map_err(&write_error)?;
        let response = self.client.get(uri, start)?;
        let is_rest = response.status() == StatusCode::PARTIAL_CONTENT && {
            let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
            range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
        };
        if start > 0 && !is_rest {
            out.set_len(0).map_err(&write_error)?;
            start = 0;
        }
        if response.status() != StatusCode::OK && !is_rest {
            let reason = format!("HTTP {} instead of the rest of the file", response.status());
            return Err(HubError::interrupted(uri, reason));
        }
        (self.client.on_event)(HubEvent::Started { file: self.file, size: *size, resumed_at: start });
        // One byte too many is enough to detect another file.
        let rest = size.map_or(u64::MAX, |size| size.saturating_sub(start).saturating_add(1));
        let mut body = response.into_body().into_reader().take(rest);
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = body.read(&mut buffer).map_err(|error| HubError::interrupted(uri, error.to_string()))?;
            if count == 0 {
                return Ok(());
            }
            out.write_all(&buffer[..count]).map_err(&write_error)?;
            (self.client.on_event)(HubEvent::Received { bytes: count as u64 });
        }
    }
}

fn length(file: &File) -> std::io::Result<u64> {
    file.metadata().map(|metadata| metadata.len())
}
