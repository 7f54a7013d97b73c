//! The check that a vocabulary is used with the model and the windows that it was trained on. Tokens of another model, layer
//! or window look like tokens and mean nothing.

use std::fmt::Display;

use super::{Normalize, Vocabulary};
use crate::{Result, TokensError};

/// The record that a use of a vocabulary expects; `None` is not checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// The SHA-256 of the model's file.
    pub model_sha256: Option<String>,
    /// The hidden state.
    pub hidden_state: Option<usize>,
    /// The width of a frame.
    pub dim: Option<usize>,
    /// The model's sampling rate in Hz.
    pub sample_rate: Option<u32>,
    /// True if windows are normalised before the model.
    pub do_normalize: Option<bool>,
    /// The distance between two frames in samples.
    pub frame_hop: Option<usize>,
    /// The receptive field of a frame in samples.
    pub frame_length: Option<usize>,
    /// The frames of a window.
    pub window: Option<usize>,
    /// The frames between two windows.
    pub hop: Option<usize>,
    /// The frames behind the kept ones.
    pub lookahead: Option<usize>,
    /// The normalisation of frames.
    pub normalize: Option<Normalize>,
}

/// The advice about the model.
const MODEL: &str =
    "give the model that it was trained with, or train a vocabulary for this one with `mert-tokens train`";

/// The advice about windows and layers.
const SETTING: &str =
    "leave the option out, so that the vocabulary's own value is used, or train another one with `mert-tokens train`";

fn compare<T: PartialEq + Display>(
    what: &'static str,
    trained: &T,
    found: Option<&T>,
    unit: &str,
    advice: &'static str,
) -> Result<()> {
    match found {
        Some(found) if found != trained => Err(TokensError::Mismatch {
            what,
            expected: format!("{trained}{unit}"),
            found: format!("{found}{unit}"),
            advice,
        }),
        _ => Ok(()),
    }
}

impl Vocabulary {
    /// Checks a use against the record.
    ///
    /// # Errors
    /// [`TokensError::Mismatch`] for the first difference, [`TokensError::NoRecord`] for a vocabulary of another program,
    /// for which the caller states a record ([`Vocabulary::with_stated_record`]).
    pub fn check(&self, expected: &Expected) -> Result<()> {
        compare("width", &self.input_dim(), expected.dim.as_ref(), " values a frame", MODEL)?;
        compare("normalisation", &self.normalize, expected.normalize.as_ref(), "", SETTING)?;
        let record = self.record.as_ref().ok_or(TokensError::NoRecord)?;
        compare("model", &record.model_sha256, expected.model_sha256.as_ref(), "", MODEL)?;
        compare("sampling rate", &record.sample_rate, expected.sample_rate.as_ref(), " Hz", MODEL)?;
        compare(
            "normalisation of input",
            &record.do_normalize,
            expected.do_normalize.as_ref(),
            " (do_normalize)",
            MODEL,
        )?;
        compare("frame hop", &record.frame_hop, expected.frame_hop.as_ref(), " samples", MODEL)?;
        compare("receptive field", &record.frame_length, expected.frame_length.as_ref(), " samples", MODEL)?;
        compare("hidden state", &record.hidden_state, expected.hidden_state.as_ref(), "", SETTING)?;
        compare("window", &record.window, expected.window.as_ref(), " frames", SETTING)?;
        compare("hop", &record.hop, expected.hop.as_ref(), " frames", SETTING)?;
        compare("kept part", &record.lookahead, expected.lookahead.as_ref(), " frames of lookahead", SETTING)
    }
}
