//! The class `Catalogue`: exact search among the tracks of a catalogue that `mert-search` keeps.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use mert_cli::catalogue::{CatalogueModel, SeedReader};
use mert_cli::hub::Messages;
use mert_search::explain::{ExplainOptions, explain};
use mert_search::query::{Limits, SearchLevel, SeedSegment, Versions, find_path, resolve_track, search};
use mert_search::{Calibration, Geometry, Level, SearchError, SearchOptions, Seed, Space};
use numpy::PyReadonlyArray2;
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pythonize::pythonize;
use serde_json::{Value, json};

use crate::errors::{of_search, of_seed};
use crate::interrupt::abandonable;

/// A catalogue that is open for reading.
#[pyclass(module = "mert_toolkit._native", frozen)]
pub(crate) struct Catalogue {
    catalogue: Arc<mert_search::Catalogue>,
    /// The calibrations that were measured, by level and seed of the random pairs: one takes longer than a search.
    calibrations: Mutex<Vec<(String, Arc<Calibration>)>>,
    /// The model that the last file outside the catalogue needed.
    model: Arc<Mutex<Option<OpenModel>>>,
}

/// A model that is open, and the names that it was given by; none for the catalogue's own.
struct OpenModel {
    names: Vec<PathBuf>,
    model: CatalogueModel,
}

/// A seed as Python gives it: a text, or vectors of segments.
#[derive(FromPyObject)]
enum PySeed<'py> {
    Text(String),
    Vectors(PyReadonlyArray2<'py, f32>),
}

/// A seed whose text has not been looked up, or that is one already.
enum GivenSeed {
    Text(String),
    Ready(Seed),
}

/// The options of a search, without its seeds.
struct Request {
    layers: Option<String>,
    center: bool,
    options: SearchOptions,
    random_seed: u64,
    with_reasons: bool,
    /// The models for files outside the catalogue.
    models: Vec<PathBuf>,
    quiet: bool,
}

#[pymethods]
impl Catalogue {
    /// Opens the catalogue in a folder.
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let catalogue =
            abandonable(py, move || mert_search::Catalogue::open(&path))?.map_err(|error| of_search(&error))?;
        Ok(Catalogue { catalogue: Arc::new(catalogue), calibrations: Mutex::default(), model: Arc::default() })
    }

    /// The folder.
    #[getter]
    fn path(&self) -> PathBuf {
        self.catalogue.folder().to_path_buf()
    }

    /// The number of rows of the track table, those of removed tracks included.
    #[getter]
    fn rows(&self) -> usize {
        self.catalogue.tracks()
    }

    /// The names, lengths and numbers of hidden states of the groups of vectors.
    #[getter]
    fn groups(&self) -> Vec<(String, usize)> {
        self.catalogue.groups().iter().map(|group| (group.name.clone(), group.dim)).collect()
    }

    /// The names of the columns that filters know.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.catalogue.column_names().map(ToString::to_string).collect()
    }

    /// Sentences about what was repaired or left out as the catalogue was opened.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.catalogue.notes().to_vec()
    }

    /// The numbers and paths of all tracks that are not removed, with their lengths in seconds.
    fn tracks(&self) -> Vec<(usize, String, f64)> {
        let track = |row: usize| {
            let track = self.catalogue.track(row);
            (row, track.file.to_string(), track.duration)
        };
        self.catalogue.live().ones().map(track).collect()
    }

    /// The number of the track that `text` means: its path, or a part of its name that no other has.
    fn find(&self, text: &str) -> PyResult<usize> {
        find_path(&self.catalogue, text.as_ref())
            .map_or_else(|| resolve_track(&self.catalogue, text), Ok)
            .map_err(|error| of_search(&error))
    }

    /// Searches, and returns the answer as `mert-search query --json` has it.
    #[pyo3(signature = (seeds, *, top, filter, level, variety, layers, center, per_artist, per_album, versions, compressed_above,
        random_seed, reasons, model, quiet))]
    #[allow(clippy::too_many_arguments)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        seeds: Vec<(PySeed<'py>, f64)>,
        top: usize,
        filter: Option<String>,
        level: &str,
        variety: f64,
        layers: Option<String>,
        center: bool,
        per_artist: Option<usize>,
        per_album: Option<usize>,
        versions: bool,
        compressed_above: usize,
        random_seed: u64,
        reasons: bool,
        model: Vec<PathBuf>,
        quiet: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let level = match level {
            "tracks" => SearchLevel::Tracks,
            "passages" => SearchLevel::Passages,
            other => return Err(PyValueError::new_err(format!("level: `{other}`, expected tracks or passages"))),
        };
        if top == 0 {
            return Err(PyValueError::new_err("top: 0, expected at least 1"));
        }
        if !(0.0..=1.0).contains(&variety) {
            return Err(PyValueError::new_err(format!("variety: {variety}, expected a number from 0 to 1")));
        }
        let default = Limits::default();
        let (per_artist, per_album) =
            (per_artist.unwrap_or(default.per_artist), per_album.unwrap_or(default.per_album));
        let gap = |limit: usize, gap: usize| if limit == 0 { 0 } else { gap };
        let limits = Limits {
            per_artist,
            per_album,
            artist_gap: gap(per_artist, default.artist_gap),
            album_gap: gap(per_album, default.album_gap),
        };
        let options = SearchOptions {
            top,
            level,
            filter,
            variety,
            limits,
            versions: versions.then(Versions::default),
            blend: Vec::new(),
            compressed_above,
        };
        let seeds: Vec<(GivenSeed, f64)> = seeds
            .into_iter()
            .map(|(seed, weight)| {
                let seed = match seed {
                    PySeed::Text(text) => GivenSeed::Text(text),
                    PySeed::Vectors(vectors) => GivenSeed::Ready(self.seed_of_vectors(&vectors)?),
                };
                Ok((seed, weight))
            })
            .collect::<PyResult<_>>()?;
        let request = Request { layers, center, options, random_seed, with_reasons: reasons, models: model, quiet };
        let key = format!("{level:?} {random_seed} {center} {:?}", request.layers);
        let lock = || self.calibrations.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().iter().find(|(name, _)| *name == key).map(|(_, calibration)| Arc::clone(calibration));
        let (catalogue, model) = (Arc::clone(&self.catalogue), Arc::clone(&self.model));
        let answer = abandonable(py, move || {
            let seeds = request.read(&catalogue, seeds, &model).map_err(|error| of_seed(&error))?;
            request.answer(&catalogue, known, &seeds).map_err(|error| of_search(&error))
        })?;
        let (answer, calibration) = answer?;
        lock().retain(|(name, _)| *name != key);
        lock().push((key, calibration));
        Ok(pythonize(py, &answer)?)
    }
}

impl Catalogue {
    /// Vectors of segments, a row for each.
    fn seed_of_vectors(&self, vectors: &PyReadonlyArray2<'_, f32>) -> PyResult<Seed> {
        let expected: usize = self.catalogue.groups().iter().map(|group| group.dim).sum();
        let found = vectors.shape()[1];
        if found != expected {
            let groups: Vec<String> =
                self.catalogue.groups().iter().map(|group| format!("{} ({})", group.name, group.dim)).collect();
            return Err(PyValueError::new_err(format!(
                "a vector has {found} values, and those of the catalogue have {expected}: {}",
                groups.join(", ")
            )));
        }
        let values = vectors.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?;
        let segments = values.chunks_exact(expected).enumerate().map(|(i, values)| SeedSegment {
            start: i as f64,
            end: (i + 1) as f64,
            values: values.to_vec(),
        });
        Ok(Seed::Vectors {
            label: "vectors".into(),
            duration: None,
            segments: segments.collect(),
            metadata: Default::default(),
        })
    }
}

impl Request {
    /// The seeds that were given, with texts looked up and files outside the catalogue embedded.
    fn read(
        &self,
        catalogue: &mert_search::Catalogue,
        seeds: Vec<(GivenSeed, f64)>,
        model: &Mutex<Option<OpenModel>>,
    ) -> anyhow::Result<Vec<(Seed, f64)>> {
        let lock = || model.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken, so that another search in the meantime does not wait for this one: it opens the model again if it needs it.
        let open = lock().take().filter(|open| open.names == self.models);
        let mut open = open.map(|open| open.model);
        let messages = Messages::of("mert_toolkit", self.quiet);
        let mut reader = SeedReader { catalogue, models: &self.models, messages, model: &mut open };
        let read = seeds.into_iter().map(|(seed, weight)| match seed {
            GivenSeed::Text(text) => Ok((reader.read(&text)?, weight)),
            GivenSeed::Ready(seed) => Ok((seed, weight)),
        });
        let read = read.collect();
        if let Some(model) = open {
            *lock() = Some(OpenModel { names: self.models.clone(), model });
        }
        read
    }

    /// The answer as JSON, and the calibration that it was made with.
    fn answer(
        &self,
        catalogue: &mert_search::Catalogue,
        calibration: Option<Arc<Calibration>>,
        seeds: &[(Seed, f64)],
    ) -> Result<(Value, Arc<Calibration>), SearchError> {
        let Request { layers, center, options, random_seed, with_reasons, .. } = self;
        let mut geometry = Geometry::of(catalogue);
        if let Some(layers) = layers {
            geometry.weights = Geometry::parse_weights(catalogue, layers)?;
        }
        geometry.center = *center;
        let space = Space::new(catalogue, geometry)?;
        let calibration =
            calibration.unwrap_or_else(|| Arc::new(Calibration::new(&space, options.level, *random_seed)));
        let answer = search(&space, &calibration, seeds, options)?;
        let mut value = json!(answer);
        if *with_reasons {
            for (index, hit) in answer.hits.iter().enumerate() {
                let (level, row) = hit.segment.map_or((Level::Tracks, hit.track), |segment| (Level::Segments, segment));
                let reasons = explain(&space, &calibration, seeds, level, row, &ExplainOptions::default())?;
                value["hits"][index]["reasons"] = json!(reasons);
            }
        }
        let label = |(seed, weight): &(Seed, f64)| json!({ "seed": seed.label(catalogue), "weight": weight });
        value["seeds"] = seeds.iter().map(label).collect();
        Ok((value, calibration))
    }
}
