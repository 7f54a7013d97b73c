//! The embedding of one window of samples: the model, the selected hidden states, their projection, and the pooling of
//! frames.

use mert_arch::LayerSelection;
use mert_audio::{AudioError, normalize};
use mert_runtime::Model;
use mert_table::{Normalization, Pool, Projection};

use crate::EmbedError;
use crate::pooling::{normalize_l2, pool};

/// Turns windows of samples into vectors. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Embedder {
    model: Model,
    layers: Vec<usize>,
    projection: Option<Projection>,
    /// The values of a frame before it is pooled.
    width: usize,
    pool: Pool,
    normalization: Normalization,
}

/// The memory that an [`Embedder`] reuses from window to window.
#[derive(Debug, Default)]
pub struct Workspace {
    model: mert_runtime::Workspace,
    /// The frames of one hidden state after the projection.
    projected: Vec<f32>,
}

/// The vectors of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The number of vectors for each hidden state: one, or with [`Pool::None`] one for each frame.
    pub rows: usize,
    /// The vectors, `(rows, hidden states, dim)`.
    pub values: Vec<f32>,
}

impl Embedder {
    /// An embedder that pools the selected hidden states of `model` (0 enters the first layer, i is the output of layer
    /// i) and scales each vector.
    ///
    /// # Errors
    /// [`EmbedError::Layers`] for a hidden state that the model does not have.
    pub fn new(
        model: Model,
        layers: &LayerSelection,
        pool: Pool,
        normalization: Normalization,
    ) -> Result<Self, EmbedError> {
        let layers = layers.resolve(model.config().num_hidden_states())?;
        let width = model.config().hidden_size;
        Ok(Embedder { model, layers, projection: None, width, pool, normalization })
    }

    /// The same embedder with the frames of each hidden state passed through `projection` before they are pooled.
    ///
    /// # Errors
    /// [`EmbedError::NoProjection`] if the model's file does not keep it.
    pub fn project(self, projection: Projection) -> Result<Self, EmbedError> {
        let size = match projection {
            Projection::FinalProj => self.model.final_proj_size(),
        };
        let width = size.ok_or(EmbedError::NoProjection { projection })?;
        Ok(Embedder { projection: Some(projection), width, ..self })
    }

    /// The model's architecture.
    pub fn config(&self) -> &mert_arch::Config {
        self.model.config()
    }

    /// The sample rate of windows, in hertz.
    pub fn sample_rate(&self) -> u32 {
        self.model.preprocessor().sampling_rate
    }

    /// Whether windows are normalised to zero mean and unit variance before they enter the model.
    pub fn normalizes(&self) -> bool {
        self.model.preprocessor().do_normalize
    }

    /// The fewest samples that a window may have.
    pub fn min_samples(&self) -> usize {
        self.model.config().receptive_field()
    }

    /// The selected hidden states, ascending.
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// The projection of frames, if there is one.
    pub fn projection(&self) -> Option<Projection> {
        self.projection
    }

    /// The pooling of frames.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// The scaling of vectors.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// The length of a vector.
    pub fn dim(&self) -> usize {
        self.pool.dim(self.width)
    }

    /// The memory that [`Embedder::embed`] uses, to be kept between windows.
    pub fn workspace(&self) -> Workspace {
        Workspace::default()
    }

    /// Embeds one window of mono samples, which is normalised in place if the model requires it. `rate` is the samples'
    /// rate in hertz and must equal [`Embedder::sample_rate`]: samples at another rate give wrong embeddings.
    ///
    /// # Errors
    /// [`EmbedError::Audio`] for another rate, or for a silent window that must be normalised; [`EmbedError::Model`]
    /// for a window that the model does not accept; [`EmbedError::NotFinite`] for a result that is not finite.
    pub fn embed(&self, workspace: &mut Workspace, samples: &mut [f32], rate: u32) -> Result<Embedding, EmbedError> {
        let expected = self.sample_rate();
        if rate != expected {
            return Err(AudioError::RateMismatch { found: rate, expected }.into());
        }
        let rows = self.rows(samples.len());
        let mut values = vec![0.0; rows * self.layers.len() * self.dim()];
        self.embed_into(workspace, samples, &mut values)?;
        Ok(Embedding { rows, values })
    }

    /// The number of vectors for each hidden state of a window of `samples` samples.
    pub(crate) fn rows(&self, samples: usize) -> usize {
        self.pool.rows(self.config().frames(samples).unwrap_or(0))
    }

    /// Embeds one window as [`Embedder::embed`] does, into `values` `(rows, hidden states, dim)`.
    pub(crate) fn embed_into(
        &self,
        workspace: &mut Workspace,
        samples: &mut [f32],
        values: &mut [f32],
    ) -> Result<(), EmbedError> {
        if self.normalizes() {
            normalize(samples)?;
        }
        let Workspace { model: workspace, projected } = workspace;
        let (width, dim, stride) = (self.width, self.dim(), self.layers.len() * self.dim());
        let (mut index, mut failure) = (0, Ok(()));
        self.model.hidden_states_in(workspace, samples, &self.layers, |layer, state| {
            let found = state.iter().find(|value| !value.is_finite());
            let state = match self.projected(state, projected) {
                Ok(state) => state,
                Err(error) => return failure = Err(error),
            };
            if let Some(&value) = found.or_else(|| state.iter().find(|value| !value.is_finite()))
                && failure.is_ok()
            {
                failure = Err(EmbedError::NotFinite { layer, value });
            }
            let vectors = values.chunks_exact_mut(stride).map(|row| &mut row[index * dim..][..dim]);
            // Without pooling each frame is a row; otherwise all frames are one.
            let frames = state.chunks_exact(if self.pool.has_frames() { width } else { state.len() });
            for (vector, frames) in vectors.zip(frames) {
                pool(self.pool, frames, width, vector);
                if self.normalization == Normalization::L2 {
                    normalize_l2(vector);
                }
            }
            index += 1;
        })?;
        failure
    }

    /// The frames of a hidden state as they are pooled: as they are, or `projected`.
    fn projected<'a>(&self, state: &'a [f32], projected: &'a mut Vec<f32>) -> Result<&'a [f32], EmbedError> {
        match self.projection {
            None => Ok(state),
            Some(Projection::FinalProj) => {
                projected.resize(state.len() / self.config().hidden_size * self.width, 0.0);
                self.model.final_proj(state, projected)?;
                Ok(projected)
            }
        }
    }
}
