//! The time limit of one input: a parser that does not end cannot be stopped from inside, so a thread of its own ends the
//! process, after it has saved the input.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Seed, save};

/// A generous limit: an ordinary input takes milliseconds, and machines that run tests are busy.
const LIMIT: Duration = Duration::from_secs(60);

type Running = Arc<Mutex<Option<(Instant, Seed)>>>;

/// A thread that watches how long the current input takes.
pub(super) struct Watchdog {
    running: Running,
}

impl Watchdog {
    pub(super) fn start(target: &'static str) -> Watchdog {
        let running = Running::default();
        let watched = Arc::downgrade(&running);
        thread::spawn(move || {
            while let Some(running) = watched.upgrade() {
                if let Some((start, input)) = &*running.lock().unwrap_or_else(PoisonError::into_inner)
                    && start.elapsed() > LIMIT
                {
                    let saved = save(target, input);
                    #[allow(clippy::print_stderr)] // the process ends here, without the test harness
                    {
                        eprintln!("{target}: an input takes more than {} s; it is saved: {saved}", LIMIT.as_secs());
                    }
                    std::process::exit(101);
                }
                drop(running);
                thread::sleep(Duration::from_millis(500));
            }
        });
        Watchdog { running }
    }

    /// Runs `parse` on an input under the time limit.
    pub(super) fn watch<T>(&self, input: &Seed, parse: impl FnOnce() -> T) -> T {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), input.clone()));
        let result = parse();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        result
    }
}
