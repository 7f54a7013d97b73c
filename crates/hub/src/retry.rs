//! Attempts at one request: how often it is repeated, and the waits between. Which failures are worth another attempt is
//! [`HubError::retry`]'s to say.

use std::thread::sleep;
use std::time::Duration;

use ureq::http::Uri;

use crate::{HubError, HubEvent, Result};

/// Attempts in a row that bring no progress.
const MAX_ATTEMPTS: u32 = 4;
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait that a server may ask for. The hub counts requests in windows of five minutes.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Whether a failed request is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry<'a> {
    /// Another attempt would end the same.
    Never,
    /// Another attempt may succeed.
    Later {
        /// The wait that the server asks for; without one, it doubles with each failure.
        wait: Option<Duration>,
        /// The reason of the failure, in a few words.
        reason: &'a str,
    },
}

/// The attempts at one request.
pub(crate) struct Attempts<'a> {
    uri: &'a Uri,
    on_event: &'a dyn Fn(HubEvent<'_>),
    failures: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(uri: &'a Uri, on_event: &'a dyn Fn(HubEvent<'_>)) -> Attempts<'a> {
        Attempts { uri, on_event, failures: 0 }
    }

    /// Forgets the failures, after progress.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits until the next attempt.
    ///
    /// # Errors
    /// `error` itself, with the number of attempts, if there is to be no other.
    pub(crate) fn wait_after(&mut self, error: HubError) -> Result<()> {
        self.failures += 1;
        let Retry::Later { wait, reason } = error.retry() else { return Err(error) };
        if self.failures >= MAX_ATTEMPTS {
            return Err(error.after_attempts(self.failures));
        }
        let wait = wait.unwrap_or(FIRST_WAIT * 2u32.pow(self.failures - 1));
        (self.on_event)(HubEvent::Note(format!("{}: {reason}; trying again in {} s", self.uri, wait.as_secs_f32())));
        sleep(wait);
        Ok(())
    }
}
