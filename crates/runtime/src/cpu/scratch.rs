use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

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
pub(crate) fn for_each<T: Send>(tasks: &mut [T], task: impl Fn(&mut T, &mut Scratch) + Sync + Send) {
    tasks.par_iter_mut().with_max_len(1).for_each(|item| with(|scratch| task(item, scratch)));
}

/// Lends this thread's scratch memory. Tasks do not nest: nothing inside `task` may wait for other
/// tasks, which rayon might run on this thread.
pub(crate) fn with<T>(task: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    SCRATCH.with_borrow_mut(|scratch| {
        let result = task(scratch);
        for (largest, buffer) in LARGEST.iter().zip(scratch.buffers()) {
            if buffer.len() > largest.load(Ordering::Relaxed) {
                largest.fetch_max(buffer.len(), Ordering::Relaxed);
            }
        }
        result
    })
}

/// What [`even_out`] has seen to.
pub(crate) type Sizes = [usize; 5];

/// The largest of each of the buffers on any thread so far.
static LARGEST: [AtomicUsize; 5] = [const { AtomicUsize::new(0) }; 5];

/// Gives every thread of the pool as much scratch memory as any has needed: which thread the largest task falls
/// to differs from pass to pass. Nothing to do if that was `done` before.
pub(crate) fn even_out(done: &mut Sizes) {
    let largest = LARGEST.each_ref().map(|size| size.load(Ordering::Relaxed));
    if *done != largest {
        let grow = |scratch: &mut Scratch| {
            scratch.buffers().into_iter().zip(largest).for_each(|(buffer, size)| buffer.reserve(size));
        };
        rayon::broadcast(|_| with(grow));
        *done = largest;
    }
}

impl Scratch {
    fn buffers(&mut self) -> [&mut Buffer; 5] {
        let Scratch { gemm, a, b, c } = self;
        let [left, widened] = gemm.buffers();
        [left, widened, a, b, c]
    }
}
