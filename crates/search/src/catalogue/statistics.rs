//! Statistics of a catalogue's vectors, by which a geometry centres them.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use fixedbitset::FixedBitSet;
use mert_fs::replace_file;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::Catalogue;
use super::manifest::FileDigest;
use crate::vectors::{Level, MAX_COMPONENTS, mean, principal_components};
use crate::{Result, SearchError};

/// Statistics of the segments of a catalogue, for each of its groups in order.
///
/// They are part of the catalogue and not of a cache: adding a few tracks must not change all scores. They are computed
/// again when the number of segments has changed by a tenth, and when the catalogue is compacted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Statistics {
    /// The number of segments that they were computed from.
    pub segments: usize,
    /// The mean of each group's vectors.
    pub means: Vec<Vec<f64>>,
    /// The largest principal components of each group's centred vectors, of length 1, the largest first.
    pub components: Vec<Vec<Vec<f64>>>,
    /// The parts whose segments they were computed from, each with the tracks that had been removed by then; `None` in
    /// files of versions that did not record it.
    pub parts: Option<Vec<(String, Vec<usize>)>>,
}

/// The name of the entry of the file's metadata with [`Statistics::parts`] as JSON.
const PARTS: &str = "parts";

/// What to do about a file that is lost or damaged.
const REMEDY: &str = "It is computed from the vectors: `mert-search verify --repair` writes it again";

/// The parts that statistics were computed from, each with the tracks that had been removed by then.
pub(super) type RecordedParts = Vec<(String, Vec<usize>)>;

/// The reason why the tracks of recorded parts are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnknownTracks {
    /// The part of this name is no longer in the catalogue.
    Part(String),
    /// The part of this name has no track of this number.
    Track(String, usize),
}

impl Statistics {
    /// Statistics of the live tracks of `catalogue`.
    pub(super) fn of(catalogue: &Catalogue) -> Self {
        Statistics::of_tracks(catalogue, catalogue.live(), Statistics::parts_of(catalogue))
    }

    /// Statistics of `tracks`, which are those of `parts` without the removed ones.
    pub(super) fn of_tracks(catalogue: &Catalogue, tracks: &FixedBitSet, parts: RecordedParts) -> Self {
        let rows: Vec<usize> = tracks.ones().flat_map(|track| catalogue.track(track).segments).collect();
        let mut statistics = Statistics { segments: rows.len(), parts: Some(parts), ..Statistics::default() };
        for group in 0..catalogue.groups().len() {
            let vectors = catalogue.vectors(Level::Segments, group);
            let mean = mean(vectors, &rows);
            statistics.components.push(principal_components(vectors, &rows, &mean, MAX_COMPONENTS));
            statistics.means.push(mean);
        }
        statistics
    }

    /// The parts of `catalogue` as they are now.
    pub(super) fn parts_of(catalogue: &Catalogue) -> RecordedParts {
        let parts = catalogue.manifest().parts.iter();
        parts.map(|entry| (entry.name.clone(), entry.removed.clone())).collect()
    }

    /// The tracks of `parts` in `catalogue`, without those that had been removed.
    pub(super) fn tracks_of(
        catalogue: &Catalogue,
        parts: &[(String, Vec<usize>)],
    ) -> Result<FixedBitSet, UnknownTracks> {
        let mut tracks = FixedBitSet::with_capacity(catalogue.tracks());
        for (name, removed) in parts {
            let part = catalogue.manifest().parts.iter().position(|entry| entry.name == *name);
            let part = part.ok_or_else(|| UnknownTracks::Part(name.clone()))?;
            let (first, end) = (catalogue.tracks[part], catalogue.tracks[part + 1]);
            tracks.insert_range(first..end);
            if let Some(&track) = removed.iter().find(|&&track| track >= end - first) {
                return Err(UnknownTracks::Track(name.clone(), track));
            }
            removed.iter().for_each(|&track| tracks.remove(first + track));
        }
        Ok(tracks)
    }

    /// The parts that the file at `path` records, whose digest is another than it should be, if its header can be read.
    pub(super) fn recorded_parts(path: &Path) -> Option<RecordedParts> {
        let file = mert_fs::MappedFile::open(path).ok()?;
        let (_, metadata) = SafeTensors::read_metadata(file.bytes()).ok()?;
        serde_json::from_str(metadata.metadata().as_ref()?.get(PARTS)?).ok()
    }

    /// Reads the file with the digest `expected`: statistics of groups whose vectors have `dims` values.
    ///
    /// # Errors
    /// [`SearchError::Damaged`] for a file that is missing or another, [`SearchError::Io`] for one that cannot be read.
    pub(super) fn read(path: &Path, expected: &FileDigest, dims: &[usize]) -> Result<Self> {
        let damaged = |reason: String| SearchError::Damaged { path: path.to_path_buf(), reason, remedy: REMEDY };
        let size = match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(damaged("it is missing".into())),
            Ok(found) if !found.is_file() => return Err(damaged("it is not a regular file".into())),
            found => found.map_err(SearchError::io(path))?.len(),
        };
        if size != expected.size {
            return Err(damaged(format!("expected {} bytes, found {size}", expected.size)));
        }
        let bytes = std::fs::read(path).map_err(SearchError::io(path))?;
        let sha256 = mert_fs::sha256_bytes(&bytes);
        if sha256 != expected.sha256 {
            return Err(damaged(format!("expected the SHA-256 {}, found {sha256}", expected.sha256)));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let values = |name: &str| -> Result<(Vec<usize>, Vec<f64>)> {
            let tensor = file.tensor(name).map_err(|error| damaged(error.to_string()))?;
            if tensor.dtype() != Dtype::F64 {
                return Err(damaged(format!("{name}: expected F64, found {:?}", tensor.dtype())));
            }
            let values = tensor.data().as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
            Ok((tensor.shape().to_vec(), values.collect()))
        };
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let parts = metadata.metadata().as_ref().and_then(|metadata| metadata.get(PARTS));
        let parts = parts.map(|text| serde_json::from_str(text)).transpose();
        let parts = parts.map_err(|error| damaged(format!("{PARTS}: {error}")))?;
        let segments = values("segments")?.1.first().copied().unwrap_or(0.0) as usize;
        let mut statistics = Statistics { segments, parts, ..Statistics::default() };
        for (group, &dim) in dims.iter().enumerate() {
            let (shape, mean) = values(&format!("{group}.mean"))?;
            let (components_shape, components) = values(&format!("{group}.components"))?;
            if shape != [dim] || components_shape.len() != 2 || components_shape[1] != dim {
                return Err(damaged(format!("group {group}: expected vectors of {dim} values")));
            }
            statistics.means.push(mean);
            statistics.components.push(components.chunks_exact(dim).map(<[f64]>::to_vec).collect());
        }
        Ok(statistics)
    }

    /// Writes the statistics to `path`.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes(path)?;
        Ok(replace_file(path, |output| output.write_all(&bytes))?)
    }

    /// The bytes of the file at `path`: those of the same statistics are the same.
    pub(super) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let bytes = |values: &[f64]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
        let mut tensors = vec![("segments".to_string(), vec![1], bytes(&[self.segments as f64]))];
        for (group, (mean, components)) in self.means.iter().zip(&self.components).enumerate() {
            tensors.push((format!("{group}.mean"), vec![mean.len()], bytes(mean)));
            let shape = vec![components.len(), mean.len()];
            tensors.push((format!("{group}.components"), shape, bytes(&components.concat())));
        }
        let failed = |error: safetensors::SafeTensorError| SearchError::damaged(path, error.to_string());
        let mut views = Vec::with_capacity(tensors.len());
        for (name, shape, bytes) in &tensors {
            views.push((name, TensorView::new(Dtype::F64, shape.clone(), bytes).map_err(failed)?));
        }
        let parts = self.parts.as_ref().map(|parts| serde_json::json!(parts).to_string());
        let metadata = parts.map(|parts| HashMap::from([(PARTS.to_string(), parts)]));
        serialize(views, metadata).map_err(failed)
    }
}
