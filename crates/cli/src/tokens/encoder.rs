//! A converted model that is opened for the frames of one hidden state, with what vocabularies record of it.

use std::path::Path;

use mert_cli::embedding::OpenModel;
use mert_cli::hub::Messages;
use mert_cli::model_input::converted_file;
use mert_cli::terminal::say;
use mert_runtime::Model;
use mert_tokens::TokensError;
use mert_tokens::frames::{FrameEncoder, FrameGrid, Framing};
use mert_tokens::vocabulary::Record;

use crate::run_args::ModelArgs;

/// A converted model, before it is known which hidden state and windows are wanted.
pub(crate) struct TokenModel {
    model: Model,
    /// The SHA-256 of the model's file.
    pub(crate) sha256: String,
    license: Option<String>,
    name: Option<String>,
    /// The element type and the device of the arithmetic.
    pub(crate) arithmetic: String,
}

impl TokenModel {
    /// Opens `model`, a converted file, a folder with it or a model of the hub.
    ///
    /// # Errors
    /// If it is not a converted model, or cannot be read.
    pub(crate) fn open(model: &Path, args: &ModelArgs) -> anyhow::Result<Self> {
        let path = converted_file(model, Messages::of("mert-tokens", args.quiet))?;
        let opened = OpenModel::open(&path, args.arithmetic(), args.device, &args.device.open()?)?;
        if !args.quiet {
            opened.notes.iter().for_each(|note| say(note));
        }
        // A model of the hub is named as it was given; a path says nothing to another machine.
        let name = (!model.exists()).then(|| model.display().to_string());
        let arithmetic = format!("{} on {}", opened.dtype, opened.kind);
        Ok(TokenModel {
            model: opened.model,
            sha256: opened.file.sha256,
            license: opened.file.license,
            name,
            arithmetic,
        })
    }

    /// The model.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The grid of the model's frames.
    pub(crate) fn grid(&self) -> FrameGrid {
        FrameGrid::new(self.model.config(), self.model.preprocessor().sampling_rate)
    }

    /// The width of a frame.
    pub(crate) fn dim(&self) -> usize {
        self.model.config().hidden_size
    }

    /// True if windows are normalised before they enter the model.
    pub(crate) fn normalizes(&self) -> bool {
        self.model.preprocessor().do_normalize
    }

    /// The hidden state that `layer` names: 0 enters the first layer, -1 is the last.
    ///
    /// # Errors
    /// [`TokensError::Layer`] if the model does not have it.
    pub(crate) fn hidden_state(&self, layer: i64) -> Result<usize, TokensError> {
        let states = self.model.config().num_hidden_states();
        let index = if layer < 0 { layer + states as i64 } else { layer };
        match usize::try_from(index) {
            Ok(index) if index < states => Ok(index),
            _ => Err(TokensError::Layer { layer, states }),
        }
    }

    /// The record of a vocabulary of these frames.
    pub(crate) fn record(&self, hidden_state: usize, framing: Framing) -> Record {
        let grid = self.grid();
        Record {
            model_sha256: self.sha256.clone(),
            model_name: self.name.clone(),
            license: self.license.clone(),
            hidden_state,
            sample_rate: grid.rate,
            do_normalize: self.normalizes(),
            frame_hop: grid.hop,
            frame_length: grid.length,
            window: framing.window,
            hop: framing.hop,
            lookahead: framing.lookahead,
            arithmetic: self.arithmetic.clone(),
            training: None,
            generator: concat!("mert-tokens ", env!("CARGO_PKG_VERSION")).to_string(),
        }
    }

    /// The encoder of a hidden state.
    ///
    /// # Errors
    /// Those of [`FrameEncoder::new`].
    pub(crate) fn encoder(self, hidden_state: usize, framing: Framing) -> Result<FrameEncoder, TokensError> {
        FrameEncoder::new(self.model, hidden_state, framing)
    }
}
