//! The length of a window or hop. In whole microseconds, so that text, metadata and sample counts agree exactly.

use std::fmt;
use std::str::FromStr;

/// A positive duration in whole microseconds, written as `5s`, `2.5s`, `250ms` or a bare number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds {
    micros: u64,
}

impl Seconds {
    /// The longest duration in seconds: a day.
    const MAX: f64 = 86_400.0;

    /// A duration of `seconds`, rounded to microseconds; `None` below one microsecond and above a day.
    pub fn new(seconds: f64) -> Option<Self> {
        let micros = (seconds * 1e6).round();
        (seconds <= Self::MAX && micros >= 1.0).then_some(Seconds { micros: micros as u64 })
    }

    /// The duration in seconds.
    pub fn get(self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// The duration in samples at `rate`, rounded, at least one.
    pub fn samples(self, rate: u32) -> usize {
        let samples = (u128::from(self.micros) * u128::from(rate) + 500_000) / 1_000_000;
        usize::try_from(samples).unwrap_or(usize::MAX).max(1)
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => (number, 1e-3),
            (None, Some(number)) => (number, 1.0),
            (None, None) => (text, 1.0),
        };
        let seconds = number
            .parse::<f64>()
            .map_err(|_| format!("invalid duration `{text}`: expected seconds such as `5s`, `2.5s` or `250ms`"))?;
        Seconds::new(seconds * unit)
            .ok_or_else(|| format!("invalid duration `{text}`: expected a microsecond to a day"))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_milliseconds() {
        for (text, seconds) in [("5s", 5.0), ("2.5s", 2.5), ("250ms", 0.25), ("30", 30.0)] {
            assert_eq!(text.parse::<Seconds>().map(Seconds::get), Ok(seconds), "{text}");
        }
        for text in ["", "s", "0s", "-1s", "NaN", "inf", "1e9s", "5 s", "5m"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
    }

    #[test]
    fn counts_samples_to_the_nearest() {
        let seconds = |text: &str| text.parse::<Seconds>().map(|seconds| seconds.samples(24_000));
        assert_eq!(seconds("2.5s"), Ok(60_000));
        assert_eq!(seconds("0.00002s"), Ok(1), "half a sample rounds up");
        assert_eq!(seconds("0.000001s"), Ok(1), "never zero");
    }
}
