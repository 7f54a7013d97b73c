//! Work that takes time: on a thread of its own with live sound, at once and in sample time without.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use crate::{LiveError, Result};

/// Something that turns inputs into outputs, one after another.
pub(crate) trait Job: Send + 'static {
    /// The input of the work.
    type Input: Send + 'static;
    /// The output of the work.
    type Output: Send + 'static;

    /// The output for an input.
    fn run(&mut self, input: Self::Input) -> Self::Output;
}

/// The clock of a session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The time of the samples: work is done at once, and its result counts as ready some seconds later. The same input gives
    /// the same output.
    Samples {
        /// The modelled time of a forward pass, in seconds.
        compute_delay: f64,
    },
    /// The real time: work is done on threads, and its result counts when it is there.
    Clock,
}

/// The inputs that may wait for a thread. One more means that it cannot keep up.
const WAITING: usize = 2;

/// A job and its results.
pub(crate) enum Worker<J: Job> {
    /// The results with the samples at which they count as ready.
    Inline { job: J, delay: u64, ready: VecDeque<(u64, J::Output)> },
    /// The ends of two queues to a thread.
    Thread { name: &'static str, inputs: SyncSender<J::Input>, outputs: Receiver<J::Output> },
}

impl<J: Job> Worker<J> {
    /// A worker; `rate` is that of the sample times.
    pub(crate) fn new(name: &'static str, mut job: J, pace: Pace, rate: u32) -> Result<Self> {
        let Pace::Samples { compute_delay } = pace else {
            let (inputs, receiver) = sync_channel(WAITING);
            let (sender, outputs) = sync_channel(WAITING + 2);
            let run = move || {
                while let Ok(input) = receiver.recv() {
                    if sender.send(job.run(input)).is_err() {
                        break;
                    }
                }
            };
            let thread = std::thread::Builder::new().name(name.to_string()).spawn(run);
            thread.map_err(|source| LiveError::Device { device: name.to_string(), reason: source.to_string() })?;
            return Ok(Worker::Thread { name, inputs, outputs });
        };
        let delay = (compute_delay * f64::from(rate)).round() as u64;
        Ok(Worker::Inline { job, delay, ready: VecDeque::new() })
    }

    /// Hands over an input at sample `now`; false if the thread has too many already, and the input is left out.
    pub(crate) fn submit(&mut self, now: u64, input: J::Input) -> Result<bool> {
        match self {
            Worker::Inline { job, delay, ready } => {
                ready.push_back((now + *delay, job.run(input)));
                Ok(true)
            }
            Worker::Thread { name, inputs, .. } => match inputs.try_send(input) {
                Ok(()) => Ok(true),
                Err(TrySendError::Full(_)) => Ok(false),
                Err(TrySendError::Disconnected(_)) => Err(LiveError::Thread { name }),
            },
        }
    }

    /// The next result that is ready at sample `now`.
    pub(crate) fn poll(&mut self, now: u64) -> Result<Option<J::Output>> {
        match self {
            Worker::Inline { ready, .. } => match ready.front() {
                Some((at, _)) if *at <= now => Ok(ready.pop_front().map(|(_, output)| output)),
                _ => Ok(None),
            },
            Worker::Thread { name, outputs, .. } => match outputs.try_recv() {
                Ok(output) => Ok(Some(output)),
                Err(TryRecvError::Empty) => Ok(None),
                Err(TryRecvError::Disconnected) => Err(LiveError::Thread { name }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    struct Half;

    impl Job for Half {
        type Input = u32;
        type Output = u32;

        fn run(&mut self, input: u32) -> u32 {
            assert!(input != 13, "a bad input");
            if input == 100 {
                std::thread::sleep(Duration::from_millis(50));
            }
            input / 2
        }
    }

    fn wait(worker: &mut Worker<Half>) -> Result<u32> {
        let start = Instant::now();
        loop {
            match worker.poll(0) {
                Ok(None) if start.elapsed() < Duration::from_secs(20) => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) => panic!("no result in 20 s"),
                Ok(Some(value)) => return Ok(value),
                Err(error) => return Err(error),
            }
        }
    }

    #[test]
    fn results_count_after_the_delay() {
        let pace = Pace::Samples { compute_delay: 0.25 };
        let mut worker = Worker::new("half", Half, pace, 8).unwrap();
        assert!(worker.submit(10, 6).unwrap());
        assert_eq!(worker.poll(11).unwrap(), None);
        assert_eq!(worker.poll(12).unwrap(), Some(3));
        assert_eq!(worker.poll(99).unwrap(), None);
    }

    #[test]
    fn a_thread_that_cannot_keep_up_leaves_inputs_out() {
        let mut worker = Worker::new("half", Half, Pace::Clock, 8).unwrap();
        let taken = (0..9).filter(|_| worker.submit(0, 100).unwrap()).count();
        assert!((WAITING..9).contains(&taken), "{taken}");
        assert_eq!(wait(&mut worker).unwrap(), 50);
    }

    #[test]
    fn a_thread_that_panics_is_an_error() {
        let mut worker = Worker::new("half", Half, Pace::Clock, 8).unwrap();
        worker.submit(0, 13).unwrap();
        assert!(matches!(wait(&mut worker), Err(LiveError::Thread { name: "half" })));
    }
}
