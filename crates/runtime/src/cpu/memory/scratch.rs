//! Scratch: the memory of one thread within one task.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

use mert_simd::Buffer;
use rayon::prelude::*;

/// The memory of the tasks that run on one thread. It grows to the largest task and stays, so that the layers of a
/// forward pass allocate nothing.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) gemm: GemmScratch,
    /// Buffers that each kernel uses as it needs.
    pub(crate) a: Buffer,
    pub(crate) b: Buffer,
    pub(crate) c: Buffer,
    /// Packed operands in the making.
    pub(crate) left: Buffer<u32>,
    pub(crate) words: Buffer<u32>,
}

/// The memory of the products that run on one thread.
#[derive(Debug, Default)]
pub(crate) struct GemmScratch {
    /// A block of packed rows of the left operand, and the scales of its rows.
    pub(crate) left: Buffer<u32>,
    pub(crate) left_scales: Buffer,
    /// A panel of 16-bit or quantized weights in f32.
    pub(crate) widened: Buffer,
    /// A panel of quantized weights in bf16.
    pub(crate) rounded: Buffer<u32>,
}

impl Scratch {
    fn buffers(&mut self) -> ([&mut Buffer<u32>; WORDS], [&mut Buffer; FLOATS]) {
        let Scratch { gemm, a, b, c, left, words } = self;
        let GemmScratch { left: gemm_left, left_scales, widened, rounded } = gemm;
        ([gemm_left, rounded, left, words], [left_scales, widened, a, b, c])
    }

    fn reserve(&mut self, sizes: ScratchSizes) {
        let (words, floats) = self.buffers();
        words.into_iter().zip(sizes).for_each(|(buffer, size)| buffer.reserve(size));
        floats.into_iter().zip(sizes.into_iter().skip(WORDS)).for_each(|(buffer, size)| buffer.reserve(size));
    }

    fn sizes(&mut self) -> impl Iterator<Item = usize> {
        let (words, floats) = self.buffers();
        words.map(|buffer| buffer.len()).into_iter().chain(floats.map(|buffer| buffer.len()))
    }
}

const WORDS: usize = 4;
const FLOATS: usize = 5;
const BUFFERS: usize = WORDS + FLOATS;

/// The size of each buffer of a thread's scratch.
pub(crate) type ScratchSizes = [usize; BUFFERS];

/// The largest size that each of the buffers has had on any thread.
static LARGEST: [AtomicUsize; BUFFERS] = [const { AtomicUsize::new(0) }; BUFFERS];

/// Runs `task` on each of `tasks` with its thread's scratch, on all threads. The tasks are handed out one by one:
/// rayon's own choice of a few long runs of them leaves a thread idle at the end.
pub(crate) fn for_each_with_scratch<T: Send>(tasks: &mut [T], task: impl Fn(&mut T, &mut Scratch) + Sync + Send) {
    tasks.par_iter_mut().with_max_len(1).for_each(|item| with_scratch(|scratch| task(item, scratch)));
}

/// Lends this thread's scratch to `task`. Tasks do not nest: nothing inside `task` may wait for other tasks, which
/// rayon might run on this thread.
pub(crate) fn with_scratch<T>(task: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    SCRATCH.with_borrow_mut(|scratch| {
        let result = task(scratch);
        for (largest, size) in LARGEST.iter().zip(scratch.sizes()) {
            if size > largest.load(Ordering::Relaxed) {
                largest.fetch_max(size, Ordering::Relaxed);
            }
        }
        result
    })
}

/// Gives every thread of the pool as much scratch as any thread has needed: which thread runs the largest task differs
/// from pass to pass. `reserved` holds the sizes of the last call, after which a call with the same sizes is free.
pub(crate) fn reserve_on_all_threads(reserved: &mut ScratchSizes) {
    let largest = LARGEST.each_ref().map(|size| size.load(Ordering::Relaxed));
    if *reserved != largest {
        rayon::broadcast(|_| with_scratch(|scratch| scratch.reserve(largest)));
        *reserved = largest;
    }
}
