//! A catalogue as it was at one time, with what is looked up in it by name: titles for the search box, and identifiers of
//! other programs.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::http::StatusCode;
use mert_search::query::{Calibration, SearchLevel};
use mert_search::{Catalogue, Column, Geometry, Space};

use crate::api::ApiError;
use crate::metrics::NamedMetric;
use crate::players::{Artists, Keys};
use crate::uploads::Uploads;

/// A catalogue as it was at one time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) catalogue: Catalogue,
    /// The learned metrics that requests may choose.
    pub(crate) metrics: Arc<[NamedMetric]>,
    /// The files that were sent to search from.
    pub(crate) uploads: Arc<Uploads>,
    /// The first generation whose tracks have the same numbers as these.
    numbered_since: u64,
    labels: Labels,
    /// For each track what the search box looks in: title, artist, album and file name in lower case.
    names: OnceLock<Vec<String>>,
    keys: OnceLock<Keys>,
    artists: OnceLock<Artists>,
    /// The cosines that are usual in the spaces that were used last.
    calibrations: Mutex<VecDeque<(String, Arc<Calibration>)>>,
}

/// The spaces whose usual cosines are kept: moving a slider uses many.
const CALIBRATIONS: usize = 16;

/// The seed of the pairs that usual cosines are sampled from: that of the command line.
const SEED: u64 = 0;

/// The columns by which people know a track.
#[derive(Debug)]
struct Labels {
    title: Option<Arc<Column>>,
    artist: Option<Arc<Column>>,
    album_artist: Option<Arc<Column>>,
    album: Option<Arc<Column>>,
}

impl Snapshot {
    /// A snapshot of `catalogue`, which was `before` a change ago.
    pub(crate) fn new(
        catalogue: Catalogue,
        metrics: Arc<[NamedMetric]>,
        uploads: Arc<Uploads>,
        before: Option<&Snapshot>,
    ) -> Self {
        let column = |name| catalogue.column(name).ok();
        let labels = Labels {
            title: column("title"),
            artist: column("artist"),
            album_artist: column("album_artist"),
            album: column("album"),
        };
        let keeps_numbers = |before: &&Snapshot| {
            let (old, new) = (&before.catalogue.manifest().parts, &catalogue.manifest().parts);
            old.len() <= new.len() && old.iter().zip(new).all(|(old, new)| old.name == new.name)
        };
        let numbered_since = match before.filter(keeps_numbers) {
            Some(before) => before.numbered_since,
            None => catalogue.manifest().generation,
        };
        Snapshot {
            catalogue,
            metrics,
            uploads,
            numbered_since,
            labels,
            names: OnceLock::new(),
            keys: OnceLock::new(),
            artists: OnceLock::new(),
            calibrations: Mutex::default(),
        }
    }

    /// The number of changes since the catalogue was made.
    pub(crate) fn generation(&self) -> u64 {
        self.catalogue.manifest().generation
    }

    /// Checks that a track's number from `generation` means the same track here.
    pub(crate) fn check_generation(&self, generation: Option<u64>) -> Result<(), ApiError> {
        match generation {
            Some(generation) if generation < self.numbered_since || generation > self.generation() => {
                let now = self.generation();
                Err(ApiError::new(
                    StatusCode::CONFLICT,
                    format!(
                        "the catalogue has changed: track numbers of generation {generation} are not those of {now}"
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// A track that has not been removed.
    pub(crate) fn live(&self, track: usize) -> Result<usize, ApiError> {
        match self.catalogue.live().contains(track) {
            true => Ok(track),
            false => Err(ApiError::not_found(format!("the catalogue has no track {track}"))),
        }
    }

    /// The title of a track; without one, the name of its file.
    pub(crate) fn title(&self, track: usize) -> Cow<'_, str> {
        match self.labels.title.as_deref().and_then(|title| title.text(track)) {
            Some(title) if !title.trim().is_empty() => Cow::Borrowed(title),
            _ => Cow::Owned(self.file_stem(track)),
        }
    }

    /// Whether a track has a title of its own.
    pub(crate) fn has_title(&self, track: usize) -> bool {
        self.labels.title.as_deref().is_some_and(|title| title.is_known(track))
    }

    /// The artist of a track, or of its album.
    pub(crate) fn artist(&self, track: usize) -> Option<&str> {
        let text =
            |column: &'_ Option<Arc<Column>>| column.as_deref().is_some_and(|column| column.text(track).is_some());
        let column = if text(&self.labels.artist) { &self.labels.artist } else { &self.labels.album_artist };
        column.as_deref().and_then(|column| column.text(track))
    }

    /// The album of a track.
    pub(crate) fn album(&self, track: usize) -> Option<&str> {
        self.labels.album.as_deref().and_then(|column| column.text(track))
    }

    /// The name of a track's file without its extension.
    fn file_stem(&self, track: usize) -> String {
        let file = self.catalogue.track(track).file;
        Path::new(file).file_stem().map_or_else(|| file.to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// For each track, removed ones included, the text that the search box looks in, in lower case.
    pub(crate) fn names(&self) -> &[String] {
        self.names.get_or_init(|| {
            let name = |track: usize| {
                let title = self.title(track);
                let mut name = title.to_lowercase();
                let texts = [self.artist(track), self.album(track)];
                for text in texts.into_iter().flatten() {
                    name.push('\n');
                    name.push_str(&text.to_lowercase());
                }
                if self.has_title(track) {
                    name.push('\n');
                    name.push_str(&self.file_stem(track).to_lowercase());
                }
                name
            };
            (0..self.catalogue.tracks()).map(name).collect()
        })
    }

    /// The cosines that are usual in a space over this catalogue.
    pub(crate) fn calibration(&self, space: &Space<'_>, level: SearchLevel) -> Arc<Calibration> {
        // A metric has a million numbers; it lives as long as the server, so that its address stands for it.
        let metric = space.geometry().metric.as_ref().map_or(0, |metric| Arc::as_ptr(metric) as usize);
        let geometry = Geometry { metric: None, csls: false, ..space.geometry().clone() };
        let key = format!("{level:?} {metric} {geometry:?}");
        let lock = || self.calibrations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, calibration)) = lock().iter().find(|(other, _)| *other == key) {
            return Arc::clone(calibration);
        }
        // Without the lock: two requests that compute the same are better than one that waits for others.
        let calibration = Arc::new(Calibration::new(space, level, SEED));
        let mut kept = lock();
        kept.push_front((key, Arc::clone(&calibration)));
        kept.truncate(CALIBRATIONS);
        calibration
    }

    /// Identifiers by which other programs know the tracks.
    pub(crate) fn keys(&self) -> &Keys {
        self.keys.get_or_init(|| Keys::new(self))
    }

    /// The artists as points.
    pub(crate) fn artists(&self) -> Result<&Artists, ApiError> {
        if let Some(artists) = self.artists.get() {
            return Ok(artists);
        }
        let artists = Artists::new(self)?;
        Ok(self.artists.get_or_init(|| artists))
    }
}
