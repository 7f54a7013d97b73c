//! The text that the language model attends to.

/// The states of a text after the projection to the model's width: `(length, width)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditioning {
    pub(super) states: Vec<f32>,
    pub(super) width: usize,
}

impl Conditioning {
    /// States `(tokens, width)` that are projected already; `None` if there are none, or no whole rows.
    pub fn new(states: Vec<f32>, width: usize) -> Option<Self> {
        (!states.is_empty() && width > 0 && states.len().is_multiple_of(width))
            .then_some(Conditioning { states, width })
    }

    /// The projected states, row by row.
    pub fn states(&self) -> &[f32] {
        &self.states
    }

    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        self.states.len() / self.width
    }
}
