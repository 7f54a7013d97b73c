//! The class `Encoder`: a converted model that embeds samples and files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mert_arch::LayerSelection;
use mert_audio::{AudioError, Resampler};
use mert_cli::embedding::{ArithmeticChoice, OpenModel, sha256_of};
use mert_cli::hub::Messages;
use mert_cli::model_input::converted_file;
use mert_embed::{EmbedError, EmbeddedFile, EmbeddedWindow, Embedder, Embedding, Encoders, InputOptions, Workspace};
use mert_runtime::{ConvertedFile, DeviceKind, Model};
use mert_table::{Normalization, Pool, Projection};
use numpy::{PyArray1, PyArray3, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use rayon::ThreadPool;

use crate::arguments::{parse, parse_some};
use crate::errors::{MertError, ModelError, of_audio, of_embedding, of_model};
use crate::interrupt::{abandonable, abandonable_in};
use crate::table::input_options;

/// A converted model with the hidden states that it returns and their pooling.
#[pyclass(module = "mert_toolkit._native", frozen)]
pub(crate) struct Encoder {
    shared: Arc<Shared>,
}

/// The parts of an encoder that calls on other threads use too.
pub(crate) struct Shared {
    pub(crate) encoder: mert_embed::Encoder,
    /// The model of the encoder, for its hidden states as they are.
    model: Model,
    notes: Vec<String>,
    path: PathBuf,
    /// The threads that the model runs on; those of all encoders if there are none of its own.
    pool: Option<ThreadPool>,
    /// The memory of calls that have ended.
    workspaces: Mutex<Vec<Workspace>>,
}

/// The windows of a file: for each the start and the length in seconds and the number of its samples, then the embeddings of all.
type EncodedFile<'py> = (Vec<(f64, f64, u64)>, Vec<Bound<'py, PyArray3<f32>>>, Vec<String>);

#[pymethods]
impl Encoder {
    #[new]
    #[pyo3(signature = (model, layers, pooling, normalize, device, dtype, project, threads, quiet))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        layers: &str,
        pooling: &str,
        normalize: &str,
        device: &str,
        dtype: &str,
        project: Option<&str>,
        threads: Option<usize>,
        quiet: bool,
    ) -> PyResult<Self> {
        let layers: LayerSelection = parse("layer", layers)?;
        let pool: Pool = parse("pooling", pooling)?;
        let normalization: Normalization = parse("normalize", normalize)?;
        let kind: DeviceKind = parse("device", device)?;
        let projection: Option<Projection> = parse_some("project", project)?;
        let arithmetic = match dtype {
            "fastest" => ArithmeticChoice::Fastest,
            dtype => ArithmeticChoice::As(parse("dtype", dtype)?),
        };
        let open = move || -> anyhow::Result<Result<Shared, EmbedError>> {
            let device = kind.open()?;
            let path = converted_file(&model, Messages::of("mert_toolkit", quiet))?;
            let open = OpenModel::open(&path, arithmetic, kind, &device)?;
            let (notes, model) = (open.notes.clone(), open.model.clone());
            let encoder = open.encoder("mert", |model| {
                let embedder = Embedder::new(model, &layers, pool, normalization)?;
                match projection {
                    Some(projection) => embedder.project(projection),
                    None => Ok(embedder),
                }
            });
            let pool =
                threads.map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build()).transpose()?;
            Ok(encoder.map(|encoder| Shared { encoder, model, notes, path, pool, workspaces: Mutex::default() }))
        };
        match abandonable(py, open)? {
            Ok(Ok(shared)) => Ok(Encoder { shared: Arc::new(shared) }),
            Ok(Err(error)) => Err(of_embedding(error)),
            Err(error) => Err(of_model(&error)),
        }
    }

    /// The converted file.
    #[getter]
    fn path(&self) -> PathBuf {
        self.shared.path.clone()
    }

    /// The SHA-256 of the converted file, in hexadecimal.
    #[getter]
    fn sha256(&self) -> &str {
        &self.shared.encoder.file.sha256
    }

    /// The checkpoint's licence, where the file records it.
    #[getter]
    fn license(&self) -> Option<&str> {
        self.shared.encoder.file.license.as_deref()
    }

    /// Sentences about what is assumed of the model's input, and about the arithmetic that was chosen for it.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.shared.notes.clone()
    }

    /// The numbers that the model computes with.
    #[getter]
    fn dtype(&self) -> String {
        self.shared.encoder.dtype.to_string()
    }

    /// The device that the model runs on.
    #[getter]
    fn device(&self) -> String {
        self.shared.encoder.device.to_string()
    }

    /// The rate of the model's input in hertz.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.embedder().sample_rate()
    }

    /// The fewest samples that the model takes.
    #[getter]
    fn min_samples(&self) -> usize {
        self.embedder().min_samples()
    }

    /// The samples from the start of a frame to the start of the next.
    #[getter]
    fn hop(&self) -> usize {
        self.embedder().config().hop()
    }

    /// The hidden states that are returned, ascending.
    #[getter]
    fn layers(&self) -> Vec<usize> {
        self.embedder().layers().to_vec()
    }

    /// The number of hidden states that the model has: its layers, and one before them.
    #[getter]
    fn num_hidden_states(&self) -> usize {
        self.embedder().config().num_hidden_states()
    }

    /// The length of a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.embedder().dim()
    }

    /// The model's configuration, with the names of transformers, as JSON.
    #[getter]
    fn config(&self) -> PyResult<String> {
        serde_json::to_string(self.embedder().config()).map_err(|error| ModelError::new_err(error.to_string()))
    }

    /// Embeds samples at `rate` hertz: `(rows, layers, dim)`, and whether they were resampled.
    fn embed<'py>(
        &self,
        py: Python<'py>,
        samples: PyReadonlyArray1<'py, f32>,
        rate: u32,
    ) -> PyResult<(Bound<'py, PyArray3<f32>>, bool)> {
        // A copy, since the model normalises its input in place.
        let samples = samples.as_slice().map_err(|error| MertError::new_err(error.to_string()))?.to_vec();
        let shared = Arc::clone(&self.shared);
        let is_resampled = rate != self.sample_rate();
        let embed = move || shared.embed(samples, rate);
        let embedding = abandonable_in(py, self.shared.pool.as_ref(), embed)?.map_err(of_embedding)?;
        Ok((self.to_numpy(py, embedding)?, is_resampled))
    }

    /// The hidden states `(layers, frames, dim)` of samples that are prepared already: nothing is normalised or pooled.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        samples: PyReadonlyArray1<'py, f32>,
    ) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let samples = samples.as_slice().map_err(|error| MertError::new_err(error.to_string()))?.to_vec();
        let shared = Arc::clone(&self.shared);
        let states = abandonable_in(py, self.shared.pool.as_ref(), move || shared.forward(&samples))?;
        let states = states.map_err(|error| ModelError::new_err(error.to_string()))?;
        let (layers, width) = (self.embedder().layers().len(), self.embedder().config().hidden_size);
        let frames = states.len() / (layers * width);
        PyArray1::from_vec(py, states).reshape([layers, frames, width])
    }

    /// Embeds the windows of a file. With `pooling` none a window has a row for each frame.
    #[pyo3(signature = (path, window, tail, damaged, ffmpeg))]
    fn embed_file<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        window: &str,
        tail: &str,
        damaged: &str,
        ffmpeg: bool,
    ) -> PyResult<EncodedFile<'py>> {
        let options = input_options(window, tail, damaged, ffmpeg)?;
        let shared = Arc::clone(&self.shared);
        let embedded = abandonable(py, move || shared.embed_file(&path, &options))?.map_err(of_embedding)?;
        let EmbeddedFile { windows, notes } = embedded;
        let (mut places, mut values) = (Vec::with_capacity(windows.len()), Vec::with_capacity(windows.len()));
        for EmbeddedWindow { start, end, samples, embedding } in windows {
            places.push((start, end, samples));
            values.push(self.to_numpy(py, embedding)?);
        }
        Ok((places, values, notes))
    }
}

impl Encoder {
    fn embedder(&self) -> &Embedder {
        &self.shared.encoder.embedder
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The embedding as `(rows, layers, dim)`, in the memory that it has.
    fn to_numpy<'py>(&self, py: Python<'py>, embedding: Embedding) -> PyResult<Bound<'py, PyArray3<f32>>> {
        let shape = [embedding.rows, self.embedder().layers().len(), self.embedder().dim()];
        PyArray1::from_vec(py, embedding.values).reshape(shape)
    }
}

impl Shared {
    /// Runs `work` on the encoder's own threads, if it has some.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }

    /// Runs `work` with memory of an earlier call, if there is any.
    fn with_workspace<T>(&self, work: impl FnOnce(&mut Workspace) -> T) -> T {
        let lock = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut workspace = lock().pop().unwrap_or_else(|| self.encoder.embedder.workspace());
        let result = work(&mut workspace);
        lock().push(workspace);
        result
    }

    /// The values of the hidden states, one after the other.
    fn forward(&self, samples: &[f32]) -> Result<Vec<f32>, mert_runtime::Error> {
        let mut values = Vec::new();
        let layers = self.encoder.embedder.layers();
        self.model.hidden_states_in(&mut mert_runtime::Workspace::default(), samples, layers, |_, state| {
            values.extend_from_slice(state);
        })?;
        Ok(values)
    }

    /// Embeds samples at `rate` hertz, which are resampled if the model has another rate.
    fn embed(&self, samples: Vec<f32>, rate: u32) -> Result<Embedding, EmbedError> {
        let embedder = &self.encoder.embedder;
        let model_rate = embedder.sample_rate();
        let mut samples = match rate == model_rate {
            true => samples,
            false => resampled(&samples, rate, model_rate)?,
        };
        let needed = embedder.min_samples();
        if samples.len() < needed {
            return Err(AudioError::TooShort { samples: samples.len() as u64, needed }.into());
        }
        self.with_workspace(|workspace| embedder.embed(workspace, &mut samples, model_rate))
    }

    /// Embeds the windows of a file as `mert-embed` does: silent ones are left out, and a note says so.
    fn embed_file(&self, path: &Path, options: &InputOptions) -> Result<EmbeddedFile, EmbedError> {
        let encoders = Encoders::new(vec![self.encoder.clone()], &options.window)?;
        self.install(|| {
            self.with_workspace(|workspace| {
                encoders.embed_file(std::slice::from_mut(workspace), path, options, &mut |_| ())
            })
        })
    }
}

/// Samples at another rate.
fn resampled(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, AudioError> {
    let mut resampler = Resampler::new(from, to)?;
    let mut resampled = Vec::with_capacity(resampler.output_len(samples.len() as u64) as usize);
    resampler.push(samples, |block| resampled.extend_from_slice(block));
    resampler.finish(|block| resampled.extend_from_slice(block));
    Ok(resampled)
}

/// Resamples samples from one rate in hertz to another, as files are resampled.
#[pyfunction]
pub(crate) fn resample<'py>(
    py: Python<'py>,
    samples: PyReadonlyArray1<'py, f32>,
    from: u32,
    to: u32,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let samples = samples.as_slice().map_err(|error| MertError::new_err(error.to_string()))?.to_vec();
    let resampled = abandonable(py, move || resampled(&samples, from, to))?;
    Ok(PyArray1::from_vec(py, resampled.map_err(|error| of_audio(&error))?))
}

/// The SHA-256 of a converted file and of those that belong to it, as `Encoder.sha256` has it.
#[pyfunction]
pub(crate) fn model_sha256(py: Python<'_>, model: PathBuf) -> PyResult<String> {
    let read = move || -> anyhow::Result<_> { Ok(sha256_of(&ConvertedFile::open(&model)?)?) };
    abandonable(py, read)?.map_err(|error| of_model(&error))
}

/// The rate in hertz that a model takes, whether its input is normalised, and what of these no file of the model states.
#[pyfunction]
pub(crate) fn preprocessor(py: Python<'_>, model: PathBuf) -> PyResult<(u32, bool, Option<String>)> {
    let read = move || -> anyhow::Result<_> {
        let path = converted_file(&model, Messages::of("mert_toolkit", false))?;
        let file = ConvertedFile::open(&path)?;
        Ok((file.metadata().preprocessor, file.metadata().assumed_preprocessor()))
    };
    let (preprocessor, assumed) = abandonable(py, read)?.map_err(|error| of_model(&error))?;
    Ok((preprocessor.sampling_rate, preprocessor.do_normalize, assumed))
}
