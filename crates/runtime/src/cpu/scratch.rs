use std::cell::RefCell;

use super::buffer::Buffer;
use super::gemm::GemmScratch;

/// What the tasks of one thread work in. It grows to the largest task and stays, so that a forward pass
/// asks the system for no memory in its layers.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) gemm: GemmScratch,
    pub(crate) a: Buffer,
    pub(crate) b: Buffer,
    pub(crate) c: Buffer,
}

/// Lends this thread's scratch memory. Tasks do not nest: nothing inside `task` may wait for other
/// tasks, which rayon might run on this thread.
pub(crate) fn with<T>(task: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    SCRATCH.with_borrow_mut(task)
}
