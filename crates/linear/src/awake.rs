//! Threads that wait for the next parallel part without falling asleep.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{hint, thread};

use rayon::Yield;

/// Idle rounds before a thread offers the processor to others, as other programs may want it.
const ROUNDS: usize = 1 << 12;

/// Runs `work`, while the other threads of rayon's pool look for its parallel parts without falling asleep.
///
/// A step of a language model has hundreds of parallel parts of some 100 µs with short gaps between them, in which rayon's
/// threads fall asleep: without waking them a step takes 2 to 3 % less. They keep their processors busy meanwhile, so the work
/// should be one that has little else between its parallel parts.
pub fn with_awake_threads<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let leader = rayon::current_thread_index();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    // With fewer processors than threads, those that look for work would take them from those that have some.
    if !(2..=processors).contains(&rayon::current_num_threads()) {
        return work();
    }
    let is_done = AtomicBool::new(false);
    rayon::in_place_scope(|scope| {
        scope.spawn_broadcast(|_, context| {
            if Some(context.index()) != leader {
                look_for_work(&is_done);
            }
        });
        // Also if the work panics.
        let _done = Done(&is_done);
        work()
    })
}

fn look_for_work(is_done: &AtomicBool) {
    let mut idle = 0;
    while !is_done.load(Ordering::Acquire) {
        match rayon::yield_now() {
            Some(Yield::Executed) => idle = 0,
            _ if idle < ROUNDS => {
                idle += 1;
                hint::spin_loop();
            }
            _ => thread::yield_now(),
        }
    }
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rayon::ThreadPoolBuilder;
    use rayon::prelude::*;

    use super::*;

    fn sum() -> u64 {
        (0..1000u32).into_par_iter().with_max_len(1).map(u64::from).sum()
    }

    #[test]
    fn work_runs_inside_and_outside_a_pool() {
        for threads in [1, 2, 3, 64] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| with_awake_threads(sum)), 499_500);
            assert_eq!(pool.install(|| with_awake_threads(|| with_awake_threads(sum))), 499_500);
        }
        assert_eq!(with_awake_threads(sum), 499_500);
    }

    #[test]
    fn several_at_a_time_end() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let sums: Vec<u64> = pool.install(|| (0..50).into_par_iter().map(|_| with_awake_threads(sum)).collect());
        assert_eq!(sums, [499_500; 50]);
    }

    #[test]
    fn a_panic_ends_the_wait() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let run = || pool.install(|| with_awake_threads(|| panic!("of the work")));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        assert_eq!(pool.install(|| with_awake_threads(sum)), 499_500);
    }
}
