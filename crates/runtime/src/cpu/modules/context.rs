//! The context of a forward pass: everything besides weights and activations that a module needs to compute.

use super::super::arithmetic::Arithmetic;
use super::super::memory::{Intermediates, TaskArena};

/// The context of a forward pass over clips of equal length.
pub(crate) struct Context<'a> {
    pub(crate) executor: Executor<'a>,
    pub(crate) intermediates: &'a mut Intermediates,
    /// Frames of each clip.
    pub(crate) frames: usize,
}

/// The means to run one step on all threads: the arithmetic of its kernels, and the memory of its task list.
pub(crate) struct Executor<'a> {
    pub(crate) arithmetic: Arithmetic,
    pub(crate) task_arena: &'a mut TaskArena,
}
