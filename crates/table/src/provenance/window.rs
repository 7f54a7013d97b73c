//! The parts of a file that are windows, recorded as `whole`, `middle:30s` or `sliding:5s/2.5s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text::serialize_as_text;

/// The parts of a file that are windows. Lengths are whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPolicy {
    /// The whole file as one window.
    Whole,
    /// One window of this length from the middle.
    Middle(Duration),
    /// A window of `length` at each multiple of `hop`.
    Sliding {
        /// The length of a window.
        length: Duration,
        /// The time from the start of a window to the start of the next.
        hop: Duration,
    },
}

impl fmt::Display for WindowPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |duration: &Duration| duration.as_micros() as f64 / 1e6;
        match self {
            WindowPolicy::Whole => f.write_str("whole"),
            WindowPolicy::Middle(length) => write!(f, "middle:{}s", seconds(length)),
            WindowPolicy::Sliding { length, hop } => write!(f, "sliding:{}s/{}s", seconds(length), seconds(hop)),
        }
    }
}

impl FromStr for WindowPolicy {
    type Err = String;

    /// Parses what `Display` prints.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || match text.split_once(':') {
            None if text == "whole" => Some(WindowPolicy::Whole),
            Some(("middle", length)) => Some(WindowPolicy::Middle(duration(length)?)),
            Some(("sliding", lengths)) => {
                let (length, hop) = lengths.split_once('/')?;
                Some(WindowPolicy::Sliding { length: duration(length)?, hop: duration(hop)? })
            }
            _ => None,
        };
        parse().ok_or_else(|| {
            format!("invalid window `{text}`: expected whole, middle:LENGTHs or sliding:LENGTHs/HOPs, in seconds")
        })
    }
}

serialize_as_text!(WindowPolicy);

/// A number of seconds followed by `s`, to the nearest microsecond.
fn duration(text: &str) -> Option<Duration> {
    let micros = (text.strip_suffix('s')?.parse::<f64>().ok()? * 1e6).round();
    // Above 2^53 a number no longer holds every microsecond; no file is that long.
    (0.0..9e15).contains(&micros).then(|| Duration::from_micros(micros as u64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn policies_are_read_back(length in 1u64..86_400_000_000, hop in 1u64..86_400_000_000) {
            let (length, hop) = (Duration::from_micros(length), Duration::from_micros(hop));
            for policy in [WindowPolicy::Middle(length), WindowPolicy::Sliding { length, hop }] {
                prop_assert_eq!(policy.to_string().parse(), Ok(policy));
            }
        }
    }

    #[test]
    fn other_text_is_refused() {
        assert_eq!("whole".parse(), Ok(WindowPolicy::Whole));
        let sliding = WindowPolicy::Sliding { length: Duration::from_secs(5), hop: Duration::from_millis(2500) };
        assert_eq!(sliding.to_string(), "sliding:5s/2.5s");
        for text in ["", "5x", "middle:30", "middle:-1s", "middle:NaNs", "sliding:5s", "sliding:infs/1s"] {
            assert!(text.parse::<WindowPolicy>().is_err(), "{text}");
        }
    }
}
