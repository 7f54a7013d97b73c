//! The hidden states of a forward pass, for comparisons.

/// The hidden states of every layer as transformers returns them: the input of each layer, and after the last layer the output
/// of the final norm.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// One entry for each state, `layers + 1` in all: `(rows, steps, width)`, the conditional row first.
    pub hidden_states: Vec<Vec<f32>>,
}
