//! A window of samples to the kept frames of one hidden state.

use mert_audio::{AudioError, normalize};
use mert_runtime::{Model, Workspace};

use super::cutter::CutWindow;
use super::framing::Framing;
use super::grid::FrameGrid;
use crate::TokensError;

/// Computes the frames of one hidden state of a model. Clones share the weights.
#[derive(Debug, Clone)]
pub struct FrameEncoder {
    model: Model,
    layer: usize,
    grid: FrameGrid,
    framing: Framing,
}

/// The kept frames of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptFrames {
    /// The number of the first of them within the recording.
    pub first_frame: u64,
    /// The frames `(count, dim)`.
    pub values: Vec<f32>,
    /// True if all samples of the window were equal, so that the model was given zeros.
    pub silent: bool,
}

impl FrameEncoder {
    /// An encoder for hidden state `layer` of `model`: 0 enters the first layer, i is the output of layer i.
    ///
    /// # Errors
    /// [`TokensError::Layer`] for a hidden state that the model does not have; [`TokensError::Framing`] if the parts of
    /// `framing` do not fit.
    pub fn new(model: Model, layer: usize, framing: Framing) -> Result<Self, TokensError> {
        let states = model.config().num_hidden_states();
        if layer >= states {
            return Err(TokensError::Layer { layer: layer as i64, states });
        }
        let grid = FrameGrid::new(model.config(), model.preprocessor().sampling_rate);
        Ok(FrameEncoder { model, layer, grid, framing: framing.checked()? })
    }

    /// The hidden state.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// The grid of frames.
    pub fn grid(&self) -> FrameGrid {
        self.grid
    }

    /// The windows, and the frames of each that are kept.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The width of a frame.
    pub fn dim(&self) -> usize {
        self.model.config().hidden_size
    }

    /// True if windows are normalised to zero mean and unit variance before they enter the model.
    pub fn normalizes(&self) -> bool {
        self.model.preprocessor().do_normalize
    }

    /// The kept frames of `window`.
    ///
    /// A window of equal samples cannot be normalised: the model gets zeros, which is what transformers' feature extractor
    /// makes of it.
    ///
    /// # Errors
    /// [`TokensError::Model`] if the model cannot be run; [`TokensError::NotFinite`] for a frame that is not finite.
    pub fn encode(&self, workspace: &mut Workspace, mut window: CutWindow) -> Result<KeptFrames, TokensError> {
        let mut silent = false;
        if self.normalizes() {
            match normalize(&mut window.samples) {
                Ok(()) => {}
                Err(AudioError::Silent { .. }) => {
                    silent = true;
                    window.samples.fill(0.0);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let (dim, kept) = (self.dim(), window.kept.clone());
        let mut values = Vec::new();
        self.model.hidden_states_in(workspace, &window.samples, &[self.layer], |_, state| {
            values.extend_from_slice(state.get(kept.start * dim..kept.end * dim).unwrap_or_default());
        })?;
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            return Err(TokensError::NotFinite { layer: self.layer, value });
        }
        Ok(KeptFrames { first_frame: window.first_kept(), values, silent })
    }
}
