use std::thread::sleep;
use std::time::Duration;

use crate::{HubError, HubEvent};

/// How often something is tried that brings nothing.
const TRIES: u32 = 4;
/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The hub counts requests in windows of five minutes; who is told to wait longer is better told so.
const LONGEST_WAIT: u64 = 300;

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Another try would end the same.
    Final(HubError),
    /// The server wants fewer requests, after so many seconds.
    Busy(Option<u64>),
    /// There is no server, or it cannot be trusted.
    NoServer(String),
    /// The server failed, or the connection did.
    Broken(String),
}

/// Waits before another try, and says when there have been enough.
pub(crate) struct Patience<'a> {
    url: &'a str,
    watch: &'a dyn Fn(HubEvent<'_>),
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(url: &'a str, watch: &'a dyn Fn(HubEvent<'_>)) -> Patience<'a> {
        Patience { url, watch, failures: 0 }
    }

    /// Something has arrived: the failures before it no longer count.
    pub(crate) fn restore(&mut self) {
        self.failures = 0;
    }

    /// Waits, if another try may bring something; else gives the error.
    pub(crate) fn after(&mut self, trouble: Trouble) -> Result<(), HubError> {
        self.failures += 1;
        let (url, tries) = (self.url.to_string(), self.failures);
        let backoff = FIRST_WAIT * 2u32.pow(self.failures.min(8) - 1);
        let (wait, reason) = match trouble {
            Trouble::Final(error) => return Err(error),
            Trouble::Busy(retry_after) => {
                let too_long = retry_after.is_some_and(|seconds| seconds > LONGEST_WAIT);
                if tries >= TRIES || too_long {
                    return Err(HubError::RateLimited { url, tries, retry_after });
                }
                (retry_after.map_or(backoff, Duration::from_secs), "too many requests".to_string())
            }
            Trouble::NoServer(reason) | Trouble::Broken(reason) => {
                if tries >= TRIES {
                    return Err(HubError::Unreachable { url, reason, tries });
                }
                (backoff, reason)
            }
        };
        (self.watch)(HubEvent::Note(format!("{url}: {reason}; trying again in {} s", wait.as_secs_f32())));
        sleep(wait);
        Ok(())
    }
}
