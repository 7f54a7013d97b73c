use std::cell::RefCell;

use rayon::prelude::*;

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

/// Runs `task` on each of `tasks` with its thread's scratch memory, on all threads. The tasks are handed
/// out one by one: rayon's own choice of a few long runs of them leaves a thread idle at the end.
pub(crate) fn for_each<T: Send>(tasks: Vec<T>, task: impl Fn(T, &mut Scratch) + Sync + Send) {
    tasks.into_par_iter().with_max_len(1).for_each(|item| with(|scratch| task(item, scratch)));
}

/// Lends this thread's scratch memory. Tasks do not nest: nothing inside `task` may wait for other
/// tasks, which rayon might run on this thread.
pub(crate) fn with<T>(task: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    SCRATCH.with_borrow_mut(task)
}
