//! The class `Vocabulary`: the centres that turn frames into tokens.

use std::path::PathBuf;
use std::sync::Arc;

use mert_tokens::Tokenizer;
use mert_tokens::kmeans::{Frames, Lloyd};
use mert_tokens::train::{Algorithm, KMeans, train_centres};
use mert_tokens::vocabulary::OpenedVocabulary;
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::MertError;
use crate::interrupt::{abandonable, stoppable};

/// The movement of the centres at which training ends, as `mert-tokens train` has it.
const TOLERANCE: f64 = 1e-4;

/// A vocabulary of tokens, packed for the exact search of the nearest centre.
#[pyclass(module = "mert_toolkit._native", frozen)]
pub(crate) struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    notes: Vec<String>,
}

#[pymethods]
impl Vocabulary {
    /// Opens a vocabulary in any of the formats that `mert-tokens` reads.
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        let failed = |error: mert_tokens::TokensError| MertError::new_err(error.to_string());
        let OpenedVocabulary { vocabulary, notes, .. } = OpenedVocabulary::open(&path).map_err(failed)?;
        Ok(Vocabulary { tokenizer: Arc::new(Tokenizer::new(vocabulary).map_err(failed)?), notes })
    }

    /// Finds `k` centres of `frames` `(frames, dim)` by k-means with passes over all of them.
    #[staticmethod]
    #[pyo3(signature = (frames, k, seed, passes))]
    fn fit(py: Python<'_>, frames: PyReadonlyArray2<'_, f32>, k: usize, seed: u64, passes: usize) -> PyResult<Self> {
        let dim = frames.shape()[1];
        let values = frames.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(PyValueError::new_err(format!(
                "frames: value {} of frame {} is {}, expected finite values",
                at % dim,
                at / dim,
                values[at]
            )));
        }
        let algorithm = Algorithm::Lloyd(Lloyd { passes, tolerance: TOLERANCE });
        let options = KMeans { k, seed, algorithm };
        let trained = stoppable(py, |stop| {
            let frames = Frames::new(values, dim);
            let goes_on = |_: mert_tokens::train::TrainEvent<'_>| !stop.load(std::sync::atomic::Ordering::Relaxed);
            frames.map(|frames| train_centres(frames, &options, None, &[frames.len()], &goes_on))
        })?;
        let trained =
            trained.ok_or_else(|| PyValueError::new_err("frames: expected an array (frames, dim) with values"))?;
        let trained = trained.map_err(|error| PyValueError::new_err(error.to_string()))?;
        // Only an interruption ends the training early, and that is an exception already.
        let trained = trained.ok_or_else(|| MertError::new_err("the training was interrupted"))?;
        let failed = |error: mert_tokens::TokensError| MertError::new_err(error.to_string());
        let mut vocabulary =
            mert_tokens::vocabulary::Vocabulary::new(trained.centres.values().to_vec(), dim).map_err(failed)?;
        vocabulary.counts = Some(trained.counts);
        Ok(Vocabulary { tokenizer: Arc::new(Tokenizer::new(vocabulary).map_err(failed)?), notes: Vec::new() })
    }

    /// The number of tokens.
    #[getter]
    fn size(&self) -> usize {
        self.tokenizer.vocabulary().k()
    }

    /// The width of a frame.
    #[getter]
    fn dim(&self) -> usize {
        self.tokenizer.vocabulary().input_dim()
    }

    /// Sentences about what was rounded, assumed or left out when the file was read.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// The centres `(size, dim of a centre)`.
    #[getter]
    fn centroids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let vocabulary = self.tokenizer.vocabulary();
        PyArray1::from_slice(py, vocabulary.centroids()).reshape([vocabulary.k(), vocabulary.dim()])
    }

    /// The token of each frame of `frames` `(frames, dim)`.
    fn quantize<'py>(
        &self,
        py: Python<'py>,
        frames: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray1<u32>>> {
        let expected = self.tokenizer.vocabulary().input_dim();
        let found = frames.shape()[1];
        if found != expected {
            return Err(PyValueError::new_err(format!(
                "frames have {found} values, and the vocabulary is for frames of {expected}: use the encoder and the layer that \
                 it was made from"
            )));
        }
        let values = frames.as_slice().map_err(|error| PyValueError::new_err(error.to_string()))?.to_vec();
        let tokenizer = Arc::clone(&self.tokenizer);
        let tokens = abandonable(py, move || tokenizer.tokens(&values))?;
        Ok(PyArray1::from_vec(py, tokens.map_err(|error| PyValueError::new_err(error.to_string()))?))
    }

    /// Writes the vocabulary as a safetensors file.
    fn save(&self, path: PathBuf, force: bool) -> PyResult<()> {
        self.tokenizer.vocabulary().write(&path, force).map_err(|error| MertError::new_err(error.to_string()))
    }
}
