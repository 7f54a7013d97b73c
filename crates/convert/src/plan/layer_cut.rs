//! The cut of a ContentVec before its speaker-conditional layers.
//!
//! The last layers of ContentVec as it was trained compute their norms from a speaker's vector, which is an input and no
//! tensor. The layers before them are a HuBERT, which is what every published use takes.

use mert_checkpoint::Listing;
use serde::Serialize;

/// The layers that a model is cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LayerCut {
    /// The number of layers before the first speaker-conditional one.
    pub kept: usize,
    /// The number of layers that are left out.
    pub left_out: usize,
}

impl LayerCut {
    /// The cut of the encoder under `prefix`; `None` for one without conditional layers.
    pub(super) fn find(listing: &Listing, prefix: &str) -> Option<LayerCut> {
        let layers = || listing.tensors.keys().filter_map(|name| layer(name.strip_prefix(prefix)?));
        let conditional = layers().filter(|(_, rest)| rest.contains("layer_norm.weight_ln."));
        let kept = conditional.map(|(index, _)| index).min()?;
        let count = layers().map(|(index, _)| index).max()?.saturating_add(1);
        Some(LayerCut { kept, left_out: count - kept })
    }

    /// Whether a tensor, by its name without the prefix, is in a layer that is left out or in the norm after them.
    pub(super) fn leaves_out(self, name: &str) -> bool {
        name.starts_with("encoder.cond_layer_norm.") || layer(name).is_some_and(|(index, _)| index >= self.kept)
    }
}

impl std::fmt::Display for LayerCut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let LayerCut { kept, left_out } = self;
        write!(
            f,
            "speaker-conditional: the model is cut after layer {kept}, the {left_out} layers after it need a speaker's \
                   vector"
        )
    }
}

/// The index of a tensor's layer, and its name within the layer.
fn layer(name: &str) -> Option<(usize, &str)> {
    let (index, rest) = name.strip_prefix("encoder.layers.")?.split_once('.')?;
    Some((index.parse().ok()?, rest))
}
