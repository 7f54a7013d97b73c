//! The queries, keys and values of the input's codes in each layer.

use crate::transformer::HeadRows;

/// The prefix of every layer, computed once for an input. Both rows of classifier-free guidance share it.
pub struct CpPrefix {
    pub(crate) layers: Vec<LayerPrefix>,
    /// The number of frames of the input, without the special one at the end.
    pub(crate) frames: usize,
}

/// The prefix of a layer.
pub struct LayerPrefix {
    pub(crate) queries: HeadRows,
    pub(crate) keys: HeadRows,
    pub(crate) values: HeadRows,
    /// The factor of the attention to the prefix.
    pub(crate) gate: f32,
}

impl CpPrefix {
    /// The prefix of each layer, in order.
    pub fn layers(&self) -> &[LayerPrefix] {
        &self.layers
    }

    /// The number of frames of the input, without the special one at the end.
    pub fn frames(&self) -> usize {
        self.frames
    }
}

impl LayerPrefix {
    /// The queries `(heads, frames + 1, head width)`.
    pub fn queries(&self) -> Vec<f32> {
        self.queries.to_vec()
    }

    /// The keys `(heads, frames + 1, head width)`.
    pub fn keys(&self) -> Vec<f32> {
        self.keys.to_vec()
    }

    /// The values `(heads, frames + 1, head width)`.
    pub fn values(&self) -> Vec<f32> {
        self.values.to_vec()
    }
}
