//! Audio files that a browser sent to search from. They are embedded one after the other, and their vectors are kept in
//! memory only: nothing of them is written into the catalogue, and the file is deleted when its vectors are known.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use mert_audio::{AudioFile, Damage, ReadOptions, Source};
use mert_search::Seed;
use mert_search::catalogue::Value;
use mert_search::catalogue::tags::read_tags;
use mert_search::query::SeedSegment;
use tempfile::NamedTempFile;

use crate::api::ApiError;

/// What embeds a file as the catalogue's were: it gets the file's path and is to report how many seconds are done.
pub type Embed = Box<dyn FnMut(&Path, &mut dyn FnMut(f64)) -> Result<Vec<SeedSegment>, String> + Send>;

/// The beginning of the identifiers of uploads, by which they differ from those of tracks.
pub(crate) const PREFIX: &str = "upload-";

/// The most bytes of a file.
pub(crate) const MOST_BYTES: u64 = 256 << 20;

/// The longest file in seconds: an hour.
pub(crate) const MOST_SECONDS: f64 = 3600.0;

/// The most uploads whose vectors are kept.
const KEPT: usize = 32;

/// The most files that wait or are being embedded.
const WAITING: usize = 4;

/// The uploads of a server.
pub(crate) struct Uploads {
    embed: Option<Mutex<Embed>>,
    /// Where files are while they are received and embedded.
    folder: PathBuf,
    kept: Mutex<VecDeque<Arc<Upload>>>,
}

/// A file that was sent.
#[derive(Debug)]
pub(crate) struct Upload {
    /// The identifier, which depends on the file's content alone.
    pub(crate) id: String,
    /// The name that the browser gave.
    pub(crate) name: String,
    /// The length in seconds that the file states, if it does.
    pub(crate) stated: Option<f64>,
    metadata: BTreeMap<String, Value>,
    state: Mutex<Embedding>,
}

/// How far an upload is embedded.
#[derive(Debug, Clone)]
pub(crate) enum Embedding {
    /// Others are embedded first.
    Waiting,
    /// So many seconds are done.
    Running(f64),
    /// Its segments.
    Ready(Arc<Vec<SeedSegment>>),
    /// The reason why it cannot be embedded.
    Failed(String),
}

impl fmt::Debug for Uploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uploads").field("is_enabled", &self.is_enabled()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Uploads {
    /// No uploads yet; none are taken without `embed`. Files are in `folder` while they are received and embedded.
    pub(crate) fn new(embed: Option<Embed>, folder: PathBuf) -> Self {
        Uploads { embed: embed.map(Mutex::new), folder, kept: Mutex::default() }
    }

    /// A new file for what is received.
    pub(crate) fn file(&self) -> std::io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.folder)
    }

    /// Whether the server has a model to embed files with.
    pub(crate) fn is_enabled(&self) -> bool {
        self.embed.is_some()
    }

    /// The upload of an identifier.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Upload>, ApiError> {
        let found = lock(&self.kept).iter().find(|upload| upload.id == id).map(Arc::clone);
        found.ok_or_else(|| {
            let id = mert_search::excerpt(id);
            ApiError::not_found(format!("there is no upload `{id}`: the last {KEPT} are kept until the server ends"))
        })
    }

    /// Takes a file: one that is known already is not embedded again. Returns whether it is to be embedded.
    ///
    /// # Errors
    /// 415 for what is no audio, 413 for a longer file than [`MOST_SECONDS`], 503 while too many wait.
    pub(crate) fn take(&self, file: &Path, name: &str, sha256: &str) -> Result<(Arc<Upload>, bool), ApiError> {
        let id = format!("{PREFIX}{}", &sha256[..16.min(sha256.len())]);
        if let Ok(known) = self.get(&id)
            && !matches!(known.state(), Embedding::Failed(_))
        {
            return Ok((known, false));
        }
        let open = |ffmpeg| AudioFile::open(file, ReadOptions { damage: Damage::Keep, ffmpeg });
        // What ffmpeg says of a file that is no audio is not as clear as what is said here.
        let audio = open(false).or_else(|error| open(true).map_err(|_| error)).map_err(|error| {
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, named(&error.to_string(), file, name))
        })?;
        let stated = audio.info().frames.map(|frames| frames as f64 / f64::from(audio.sample_rate().max(1)));
        if let Some(seconds) = stated.filter(|&seconds| seconds > MOST_SECONDS) {
            let message =
                format!("{name} is {:.0} min long: expected at most {:.0} min", seconds / 60.0, MOST_SECONDS / 60.0);
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        let upload = Arc::new(Upload {
            id,
            name: name.to_string(),
            stated,
            metadata: read_tags(file).0,
            state: Mutex::new(Embedding::Waiting),
        });
        let mut kept = lock(&self.kept);
        if kept.iter().filter(|upload| upload.is_pending()).count() >= WAITING {
            let message = format!("{WAITING} files are waiting to be embedded: try again when they are done");
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
        }
        kept.retain(|other| other.id != upload.id);
        kept.push_front(Arc::clone(&upload));
        if kept.len() > KEPT
            && let Some(last) = kept.iter().rposition(|upload| !upload.is_pending())
        {
            kept.remove(last);
        }
        Ok((upload, true))
    }

    /// Embeds the file of an upload, after those that came before it. The file is deleted afterwards.
    pub(crate) fn embed(&self, upload: &Upload, file: NamedTempFile) {
        let Some(embed) = &self.embed else { return };
        let mut embed = lock(embed);
        upload.set(Embedding::Running(0.0));
        let mut progress = |seconds: f64| upload.set(Embedding::Running(seconds));
        let path = file.path();
        // A fault of the model must not leave the page waiting.
        let result = catch_unwind(AssertUnwindSafe(|| embed(path, &mut progress)));
        upload.set(match result {
            Ok(Ok(segments)) if segments.is_empty() => Embedding::Failed(format!("{} has no sound", upload.name)),
            Ok(Ok(segments)) => Embedding::Ready(Arc::new(segments)),
            Ok(Err(reason)) => Embedding::Failed(named(&reason, path, &upload.name)),
            Err(_) => Embedding::Failed("the model failed; the server's terminal has the reason".into()),
        });
    }
}

/// A message in which the name of the upload stands for the path of its temporary file.
fn named(message: &str, file: &Path, name: &str) -> String {
    let message = message.replace(&mert_table::printable_path(file), name);
    if message.contains(name) { message } else { format!("{name}: {message}") }
}

impl Upload {
    /// How far it is embedded.
    pub(crate) fn state(&self) -> Embedding {
        lock(&self.state).clone()
    }

    fn set(&self, state: Embedding) {
        *lock(&self.state) = state;
    }

    fn is_pending(&self) -> bool {
        matches!(*lock(&self.state), Embedding::Waiting | Embedding::Running(_))
    }

    /// The length in seconds: that of the segments once they are known, as for files of the command line.
    pub(crate) fn duration(&self) -> Option<f64> {
        match &*lock(&self.state) {
            Embedding::Ready(segments) => Some(end(segments)),
            _ => self.stated,
        }
    }

    /// What its tags say in a column: the first text.
    pub(crate) fn tag(&self, column: &str) -> Option<String> {
        match self.metadata.get(column)? {
            Value::Texts(texts) => texts.first().cloned(),
            Value::Number(number) => Some(number.to_string()),
        }
    }

    /// The seed that it is.
    ///
    /// # Errors
    /// 409 if it is not embedded yet, 400 if it cannot be.
    pub(crate) fn seed(&self) -> Result<Seed, ApiError> {
        match self.state() {
            Embedding::Ready(segments) => Ok(Seed::Vectors {
                label: self.name.clone(),
                duration: Some(end(&segments)),
                segments: segments.to_vec(),
                metadata: self.metadata.clone(),
            }),
            Embedding::Failed(reason) => Err(ApiError::invalid(reason)),
            Embedding::Waiting | Embedding::Running(_) => {
                Err(ApiError::new(StatusCode::CONFLICT, format!("{} is not embedded yet", self.name)))
            }
        }
    }
}

/// The end of the last segment in seconds.
fn end(segments: &[SeedSegment]) -> f64 {
    segments.iter().map(|segment| segment.end).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio() -> std::path::PathBuf {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/audio/s16-44k1-mono.wav")).to_path_buf()
    }

    #[test]
    fn what_is_no_audio_is_refused_by_name_and_a_failure_is_kept_as_one() {
        let embed: Embed = Box::new(|path, progress| {
            progress(1.0);
            Err(format!("{} is odd", path.display()))
        });
        let uploads = Uploads::new(Some(embed), std::env::temp_dir());
        let text = NamedTempFile::new().unwrap();
        std::fs::write(text.path(), "no audio").unwrap();
        let refused = uploads.take(text.path(), "notes.txt", &"a".repeat(64)).unwrap_err();
        assert_eq!(refused.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert!(refused.message().contains("notes.txt") && !refused.message().contains("tmp"), "{}", refused.message());

        let file = NamedTempFile::new().unwrap();
        std::fs::copy(audio(), file.path()).unwrap();
        let path = file.path().to_path_buf();
        let (upload, is_new) = uploads.take(&path, "a.wav", &"b".repeat(64)).unwrap();
        assert!(is_new && upload.seed().is_err() && upload.stated.is_some());
        uploads.embed(&upload, file);
        assert!(!path.exists());
        assert!(matches!(upload.state(), Embedding::Failed(reason) if reason == "a.wav is odd"));
        // What failed may be tried again; what waits is not taken twice.
        assert!(uploads.take(&audio(), "a.wav", &"b".repeat(64)).unwrap().1);
        assert!(!uploads.take(&audio(), "a.wav", &"b".repeat(64)).unwrap().1);
        for other in ["c", "d", "e"] {
            uploads.take(&audio(), "a.wav", &other.repeat(64)).unwrap();
        }
        let busy = uploads.take(&audio(), "a.wav", &"f".repeat(64)).unwrap_err();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_panic_of_the_model_is_a_failure() {
        let uploads = Uploads::new(Some(Box::new(|_, _| panic!("as a test"))), std::env::temp_dir());
        let file = NamedTempFile::new().unwrap();
        std::fs::copy(audio(), file.path()).unwrap();
        let (upload, _) = uploads.take(file.path(), "a.wav", &"b".repeat(64)).unwrap();
        uploads.embed(&upload, file);
        assert!(matches!(upload.state(), Embedding::Failed(_)));
    }
}
