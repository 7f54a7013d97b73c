//! The seeds that texts mean: tracks, files that are not in the catalogue, and passages of either.

use std::path::{Path, PathBuf};

use anyhow::Context;
use mert_search::catalogue::tags::read_tags;
use mert_search::query::{find_path, looks_like_times, parse_times, resolve_track};
use mert_search::{Catalogue, SearchError, Seed, excerpt};
use mert_table::{escape, printable_path};

use super::CatalogueModel;
use crate::hub::Messages;

/// A reader of seeds, which opens the catalogue's model when a file needs it.
pub struct SeedReader<'a> {
    /// The catalogue.
    pub catalogue: &'a Catalogue,
    /// The models for files, in the place of those that the catalogue remembers.
    pub models: &'a [PathBuf],
    /// The messages about downloads of a model.
    pub messages: Messages,
    /// The model, once a file has needed it.
    pub model: &'a mut Option<CatalogueModel>,
}

impl SeedReader<'_> {
    /// The seed that `text` means: a track of the catalogue, a file outside it, which is embedded with the catalogue's model, or a
    /// passage of either, such as `song.mp3@1:20-1:35`. A file's name may hold an `@`: what is a path as a whole is one.
    ///
    /// # Errors
    /// [`SearchError::Query`] for a text that names no track and no file, or several, and for times that are none; otherwise
    /// those of [`CatalogueModel::open`] and [`CatalogueModel::embed`].
    pub fn read(&mut self, text: &str) -> anyhow::Result<Seed> {
        let path = Path::new(text);
        if let Some(track) = find_path(self.catalogue, path) {
            return Ok(Seed::Track(track));
        }
        if path.is_file() {
            return self.embed(path, None);
        }
        let Some((name, times)) = text.rsplit_once('@') else {
            return Ok(Seed::Track(resolve_track(self.catalogue, text)?));
        };
        let (path, parsed) = (Path::new(name), parse_times(times));
        let known = find_path(self.catalogue, path);
        match parsed {
            Ok((start, end)) => match known {
                Some(track) => Ok(Seed::Passage { track, start, end }),
                None if path.is_file() => self.embed(path, Some((start, end))),
                None => Ok(Seed::Passage { track: resolve_track(self.catalogue, name)?, start, end }),
            },
            Err(fault) => match resolve_track(self.catalogue, text) {
                Ok(track) => Ok(Seed::Track(track)),
                // The part before the `@` names a track or a file, so that the part behind it was meant as times.
                Err(_)
                    if path.is_file()
                        || looks_like_times(times)
                        || known.or_else(|| resolve_track(self.catalogue, name).ok()).is_some() =>
                {
                    let (times, name) = (excerpt(times), excerpt(name));
                    Err(SearchError::Query(format!("invalid passage `{times}` of {name}: {fault}")).into())
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    fn embed(&mut self, path: &Path, passage: Option<(f64, f64)>) -> anyhow::Result<Seed> {
        let model = match &mut *self.model {
            Some(model) => model,
            empty => empty.insert(CatalogueModel::open(self.catalogue, self.models, self.messages)?),
        };
        let segments = model.embed(path, passage, &mut |_| ()).with_context(|| printable_path(path))?;
        let end = segments.iter().map(|segment| segment.end).fold(0.0, f64::max);
        let label = match passage {
            None => escape(path),
            Some((start, end)) => format!("{}@{start}-{end}", escape(path)),
        };
        Ok(Seed::Vectors { label, duration: passage.is_none().then_some(end), segments, metadata: read_tags(path).0 })
    }
}
