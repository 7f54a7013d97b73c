use mert_audio::normalize;
use mert_runtime::Model;
use mert_spec::LayerSelection;

use crate::EmbedError;
use crate::pool::{Pool, normalize_l2};

/// Turns windows of samples into vectors. Clones share the weights.
#[derive(Debug, Clone)]
pub struct Embedder {
    model: Model,
    layers: Vec<usize>,
    pool: Pool,
    l2: bool,
}

/// What became of one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Vectors for each hidden state: one, or with [`Pool::None`] one for each frame.
    pub rows: usize,
    /// `(rows, hidden states, dim)`.
    pub values: Vec<f32>,
}

impl Embedder {
    /// An embedder that takes the chosen hidden states of `model` (0 enters the first layer, i is the output
    /// of layer i) and scales each vector to length 1 if `l2`.
    ///
    /// # Errors
    /// [`EmbedError::Layers`] for a hidden state that the model does not have.
    pub fn new(model: Model, layers: &LayerSelection, pool: Pool, l2: bool) -> Result<Self, EmbedError> {
        let layers = layers.resolve(model.config().num_hidden_states())?;
        Ok(Embedder { model, layers, pool, l2 })
    }

    /// The model's architecture.
    pub fn config(&self) -> &mert_spec::Config {
        self.model.config()
    }

    /// Samples per second that windows must have.
    pub fn sample_rate(&self) -> u32 {
        self.model.config().input_sample_rate()
    }

    /// The fewest samples that a window may have.
    pub fn min_samples(&self) -> usize {
        self.model.config().receptive_field()
    }

    /// The hidden states, ascending.
    pub fn layers(&self) -> &[usize] {
        &self.layers
    }

    /// How frames become vectors.
    pub fn pool(&self) -> Pool {
        self.pool
    }

    /// Whether vectors have length 1.
    pub fn is_l2(&self) -> bool {
        self.l2
    }

    /// The length of a vector.
    pub fn dim(&self) -> usize {
        self.pool.dim(self.width())
    }

    fn width(&self) -> usize {
        self.model.config().hidden_size
    }

    /// Embeds one window of mono samples at [`Embedder::sample_rate`], which is normalised in place.
    ///
    /// # Errors
    /// [`EmbedError::Audio`] for a silent window, [`EmbedError::Model`] for one that the model does not take,
    /// [`EmbedError::NotFinite`] if the result is no number.
    pub fn embed(&self, samples: &mut [f32]) -> Result<Embedding, EmbedError> {
        normalize(samples)?;
        let states = self.model.hidden_states(samples, &self.layers)?;
        let (dim, width, count) = (self.dim(), self.width(), self.layers.len());
        let frames = states.first().map_or(Ok(0), |state| state.dim(1)).map_err(mert_runtime::Error::from)?;
        let rows = self.pool.rows(frames);
        let mut values = vec![0.0; rows * count * dim];
        let mut vectors = vec![0.0; rows * dim];
        for (place, (state, &layer)) in states.iter().zip(&self.layers).enumerate() {
            let state = flat(state).map_err(mert_runtime::Error::from)?;
            self.pool_state(&state, layer, width, &mut vectors)?;
            for (row, vector) in vectors.chunks_exact(dim).enumerate() {
                values[(row * count + place) * dim..][..dim].copy_from_slice(vector);
            }
        }
        Ok(Embedding { rows, values })
    }

    /// Pools the frames of one hidden state, checks them, and scales them.
    pub(crate) fn pool_state(
        &self,
        state: &[f32],
        layer: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), EmbedError> {
        if let Some(&value) = state.iter().find(|value| !value.is_finite()) {
            return Err(EmbedError::NotFinite { layer, value });
        }
        self.pool.apply(state, width, out);
        if self.l2 {
            out.chunks_exact_mut(self.dim()).for_each(normalize_l2);
        }
        Ok(())
    }
}

fn flat(state: &candle_core::Tensor) -> candle_core::Result<Vec<f32>> {
    state.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()
}
