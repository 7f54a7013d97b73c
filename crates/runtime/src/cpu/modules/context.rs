//! The context of a forward pass: everything besides weights and activations that a module needs to compute.

use mert_simd::Isa;

use super::super::memory::{Intermediates, TaskArena};

/// The context of a forward pass over clips of equal length.
pub(crate) struct Context<'a> {
    pub(crate) executor: Executor<'a>,
    pub(crate) intermediates: &'a mut Intermediates,
    /// Frames of each clip.
    pub(crate) frames: usize,
}

/// The means to run one step on all threads: the instruction set of its kernels, and the memory of its task list.
pub(crate) struct Executor<'a> {
    pub(crate) isa: Isa,
    pub(crate) task_arena: &'a mut TaskArena,
}
