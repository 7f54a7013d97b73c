//! Numbers of options, with limits that are checked while the command line is read, so that an error names the option.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use mert_search::{SearchOptions, excerpt};

/// The number in `text`, within `range`.
fn within<T: FromStr + PartialOrd + Display>(text: &str, range: RangeInclusive<T>) -> Result<T, String> {
    let (least, most) = (range.start(), range.end());
    match text.parse::<T>() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {least} to {most}, found {}", excerpt(text))),
    }
}

/// A number of hits: 1 to [`SearchOptions::MOST`].
pub(crate) fn hits(text: &str) -> Result<usize, String> {
    within(text, 1..=SearchOptions::MOST)
}

/// A number of tracks, which may be 0.
pub(crate) fn tracks(text: &str) -> Result<usize, String> {
    within(text, 0..=SearchOptions::MOST)
}

/// A number of tracks between two: 0 to 10,000.
pub(crate) fn steps(text: &str) -> Result<usize, String> {
    within(text, 0..=10_000)
}

/// A number of pairs that are listed: 0 to 10,000.
pub(crate) fn pairs(text: &str) -> Result<usize, String> {
    within(text, 0..=10_000)
}

/// A number of principal components: 0 to 10,000. A space checks it against the length of its vectors.
pub(crate) fn components(text: &str) -> Result<usize, String> {
    within(text, 0..=10_000)
}

/// A share from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1.0)
}

/// A cosine distance from 0 to 2.
pub(crate) fn distance(text: &str) -> Result<f64, String> {
    within(text, 0.0..=2.0)
}

/// A length in seconds, up to a day.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.0..=86_400.0)
}

/// A percentile from 0 to 100.
pub(crate) fn percentile(text: &str) -> Result<f64, String> {
    within(text, 0.0..=100.0)
}

/// The weight of a seed: above zero, and at most 1000, beyond which the other seeds do not count.
pub(crate) fn weight(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 1000.0 => Ok(number),
        _ => Err(format!("expected a number above 0 and up to 1000, found {}", excerpt(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_limits_and_errors_are_short() {
        assert_eq!((hits("5"), share("0.5"), weight("2")), (Ok(5), Ok(0.5), Ok(2.0)));
        for text in ["0", "-1", "99999999999", "1e3", "nan", ""] {
            assert!(hits(text).unwrap_err().starts_with("expected a number from 1 to 1000000, found "), "{text}");
        }
        for text in ["nan", "inf", "-0.1", "1.1", "x"] {
            assert!(share(text).is_err(), "{text}");
        }
        for text in ["nan", "inf", "-1", "0", "1e300"] {
            assert!(weight(text).is_err(), "{text}");
        }
        assert!(hits(&"9".repeat(100_000)).unwrap_err().len() < 300);
    }
}
