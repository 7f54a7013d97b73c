//! How close a written model is to its checkpoint, as measured.

use std::fmt;

use serde::Serialize;

/// How close the hidden states of a written model are to those of its checkpoint in f32.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fidelity {
    /// The audio on which they were compared, in a few words.
    pub clips: String,
    /// The worst of all clips, for each hidden state.
    pub hidden_states: Vec<StateFidelity>,
    /// More about the encodings, as sections of Markdown for a model card.
    #[serde(skip)]
    pub sections: String,
}

/// How close one hidden state is to the checkpoint's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StateFidelity {
    /// The normalised mean squared error.
    pub nmse: f64,
    /// The cosine of the means over frames.
    pub pooled_cosine: f64,
    /// The lowest cosine of two frames.
    pub frame_cosine: f64,
}

impl fmt::Display for StateFidelity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StateFidelity { nmse, pooled_cosine, frame_cosine } = self;
        write!(f, "pooled cosine {pooled_cosine:.6}, frame cosine {frame_cosine:.6}, NMSE {nmse:.2e}")
    }
}

impl Fidelity {
    /// The worst of all hidden states, each figure by itself; `None` if there is no state.
    pub fn worst(&self) -> Option<StateFidelity> {
        self.hidden_states.iter().copied().reduce(|a, b| StateFidelity {
            nmse: a.nmse.max(b.nmse),
            pooled_cosine: a.pooled_cosine.min(b.pooled_cosine),
            frame_cosine: a.frame_cosine.min(b.frame_cosine),
        })
    }
}
