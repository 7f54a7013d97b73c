//! The workspace: all memory that forward passes reuse from one to the next.

use mert_simd::Buffer;

use super::packed_activations::PackedActivations;
use super::packed_weight::PackedWeight;
use super::scratch::{self, ScratchSizes};
use super::task_arena::TaskArena;

/// All memory that forward passes reuse. It grows to the largest pass and stays; no value in it is carried over from
/// one pass to the next.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// The feature extractor's output, `(clips · frames, conv_dim.last)`.
    pub(crate) features: Buffer,
    pub(crate) hidden_state: HiddenState,
    pub(crate) intermediates: Intermediates,
    pub(crate) task_arena: TaskArena,
    reserved: ScratchSizes,
}

/// The hidden state between two layers, which each layer transforms in place.
#[derive(Debug, Default)]
pub(crate) struct HiddenState {
    buffer: Buffer,
    /// The part of `buffer` that this pass uses.
    len: usize,
    packed: PackedActivations,
}

/// The memory that lives within one module; all layers use the same.
#[derive(Debug, Default)]
pub(crate) struct Intermediates {
    /// The clips with their means subtracted.
    pub(crate) centred_clips: Buffer,
    pub(crate) patch_statistics: PatchStatistics,
    /// The first convolution with the norm over time folded into it, one for each clip and perhaps more.
    pub(crate) folded: Vec<PackedWeight>,
    /// The position embedding, `(clips · frames, hidden_size)`, where it is the result of more than one convolution.
    pub(crate) position_embedding: Buffer,
    /// The position bias of each head by the distance of query and key, the same in all layers.
    pub(crate) biases_by_distance: Buffer,
    /// Queries, keys and values, `(clips · frames, 3 · hidden_size)`.
    pub(crate) qkv: Buffer,
    /// Packed keys and values of each head.
    pub(crate) keys_values: Buffer<u32>,
    /// The heads' results, `(clips · frames, hidden_size)`, and the same packed for the output projection.
    pub(crate) attended: Buffer,
    pub(crate) packed_attended: PackedActivations,
    /// The inner activations of the feed-forward, for some frames at a time.
    pub(crate) feed_forward: PackedActivations,
    /// The same as rows, where a product cannot write them packed.
    pub(crate) feed_forward_rows: Buffer,
}

/// Mean and covariance of the patches of samples under the first convolution's frames, for one clip, in f64.
#[derive(Debug, Default)]
pub(crate) struct PatchStatistics {
    /// The mean, `(kernel,)`.
    pub(crate) mean: Buffer<f64>,
    /// The biased covariance, `(kernel, kernel)`.
    pub(crate) covariance: Buffer<f64>,
    /// One patch with the mean subtracted.
    pub(crate) centred: Buffer<f64>,
}

impl Workspace {
    /// Reserves the memory that passes like those so far need, on whichever thread their tasks run.
    pub(crate) fn reserve(&mut self) {
        self.task_arena.clear();
        scratch::reserve_on_all_threads(&mut self.reserved);
    }
}

impl HiddenState {
    /// Makes room for `len` values.
    pub(crate) fn resize(&mut self, len: usize) {
        self.len = len;
        self.buffer.reserve(len);
    }

    /// The values as rows, `(clips · frames, hidden_size)`.
    pub(crate) fn rows(&self) -> &[f32] {
        &self.buffer[..self.len]
    }

    /// The values as rows, and packed as the left operand of the next product: the values themselves or, in a pre-LN
    /// model, their norm.
    pub(crate) fn parts(&mut self) -> (&mut [f32], &mut PackedActivations) {
        (&mut self.buffer[..self.len], &mut self.packed)
    }
}
