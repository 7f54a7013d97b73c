//! The limits on error and size, as users write them.

use std::fmt;
use std::str::FromStr;

use mert_convert::write::StateFidelity;
use serde::Serialize;

/// A measure of the error of a hidden state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Criterion {
    /// The cosine similarity of the means over frames.
    Pooled,
    /// The lowest cosine similarity of two corresponding frames.
    Frame,
    /// The normalised mean squared error.
    Nmse,
}

impl Criterion {
    /// Every criterion, in the order of [`Budget`]'s limits.
    pub const ALL: [Criterion; 3] = [Criterion::Pooled, Criterion::Frame, Criterion::Nmse];

    /// The name in a budget.
    pub const fn name(self) -> &'static str {
        match self {
            Criterion::Pooled => "pooled",
            Criterion::Frame => "frame",
            Criterion::Nmse => "nmse",
        }
    }

    /// The loss of a hidden state: the distance of a cosine from 1, or the NMSE.
    pub fn loss(self, state: &StateFidelity) -> f64 {
        match self {
            Criterion::Pooled => 1.0 - state.pooled_cosine,
            Criterion::Frame => 1.0 - state.frame_cosine,
            Criterion::Nmse => state.nmse,
        }
    }

    /// The limit as users write it: a cosine, which the loss is the distance from 1 of, or the NMSE itself.
    const fn value(self, loss: f64) -> f64 {
        match self {
            Criterion::Pooled | Criterion::Frame => 1.0 - loss,
            Criterion::Nmse => loss,
        }
    }

    const fn operator(self) -> &'static str {
        match self {
            Criterion::Pooled | Criterion::Frame => ">=",
            Criterion::Nmse => "<=",
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Criterion::Pooled => "pooled cosine",
            Criterion::Frame => "frame cosine",
            Criterion::Nmse => "NMSE",
        })
    }
}

/// Limits on the error of every hidden state, on every clip.
///
/// ```
/// use mert_budget::{Budget, Criterion};
///
/// let budget: Budget = "pooled>=0.9995,nmse<=1e-3".parse()?;
/// assert_eq!(budget.limit(Criterion::Nmse), Some(1e-3));
/// assert_eq!(budget.to_string(), "pooled>=0.9995,nmse<=0.001");
/// assert!("pooled<=0.9995".parse::<Budget>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(into = "String")]
pub struct Budget {
    /// The largest loss by [`Criterion`]: the distance of a cosine from 1, or the NMSE.
    limits: [Option<f64>; 3],
}

impl Budget {
    /// The limits by which the errors of a file of a given size are weighed against each other: those of a 16-bit release
    /// gate's pooled cosine, with frames and energy in the proportions that quantization noise has.
    pub const REFERENCE: Budget = Budget { limits: [Some(5e-4), Some(2e-3), Some(1e-3)] };

    /// The largest loss: the distance of a cosine from 1, or the NMSE; `None` if the budget does not limit it.
    pub const fn limit(&self, criterion: Criterion) -> Option<f64> {
        self.limits[criterion as usize]
    }

    /// The largest loss in proportion to its limit; the budget holds if it is at most 1.
    pub fn used(&self, errors: &StateFidelity) -> f64 {
        let ratios =
            Criterion::ALL.into_iter().filter_map(|criterion| Some(criterion.loss(errors) / self.limit(criterion)?));
        ratios.fold(0.0, f64::max)
    }
}

impl From<Budget> for String {
    fn from(budget: Budget) -> String {
        budget.to_string()
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = Criterion::ALL.into_iter().filter_map(|criterion| {
            let value = criterion.value(self.limit(criterion)?);
            // 1 − loss has digits of rounding: the fewest that read back as the same limit, to a millionth of it.
            let is_close = |text: &f64| {
                let loss = if criterion == Criterion::Nmse { *text } else { 1.0 - text };
                (loss / self.limits[criterion as usize].unwrap_or(loss) - 1.0).abs() < 1e-6
            };
            let rounded = (1..17).map(|digits| (value * 10f64.powi(digits)).round() / 10f64.powi(digits));
            let value = rounded.into_iter().find(is_close).unwrap_or(value);
            Some(format!("{}{}{value}", criterion.name(), criterion.operator()))
        });
        f.pad(&limits.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut budget = Budget { limits: [None; 3] };
        for part in text.split(',') {
            let part = part.trim();
            let known = Criterion::ALL.into_iter().find_map(|criterion| {
                let rest = part.strip_prefix(criterion.name())?.trim_start();
                Some((criterion, rest))
            });
            let Some((criterion, rest)) = known else {
                return Err(format!(
                    "invalid limit `{part}`: expected pooled>=COSINE, frame>=COSINE or nmse<=NUMBER, separated by commas"
                ));
            };
            let (name, operator) = (criterion.name(), criterion.operator());
            let Some(number) = rest.strip_prefix(operator) else {
                return Err(format!("invalid limit `{part}`: expected {name}{operator}NUMBER"));
            };
            let value: f64 =
                number.trim().parse().map_err(|_| format!("invalid limit `{part}`: `{number}` is not a number"))?;
            let (loss, range) = match criterion {
                Criterion::Pooled | Criterion::Frame => (1.0 - value, "a cosine above 0 and below 1"),
                Criterion::Nmse => (value, "a number above 0 and below 1"),
            };
            if !(loss > 0.0 && loss < 1.0) {
                return Err(format!("invalid limit `{part}`: expected {range}"));
            }
            if budget.limits[criterion as usize].replace(loss).is_some() {
                return Err(format!("{name} is limited twice: give one limit"));
            }
        }
        Ok(budget)
    }
}

/// A number of bytes, such as `60MB` (60 · 10⁶), `60MiB` (60 · 2²⁰) or `60000000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.pad("1 byte"),
            bytes @ ..1_000_000 => f.pad(&format!("{bytes} bytes")),
            bytes => f.pad(&format!("{:.2} MB", bytes as f64 / 1e6)),
        }
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(&str, f64); 7] = [
            ("KIB", 1024.0),
            ("MIB", 1_048_576.0),
            ("GIB", 1_073_741_824.0),
            ("KB", 1e3),
            ("MB", 1e6),
            ("GB", 1e9),
            ("B", 1.0),
        ];
        let upper = text.trim().to_ascii_uppercase();
        let unit = UNITS.into_iter().find_map(|(unit, bytes)| Some((upper.strip_suffix(unit)?, bytes)));
        let (number, unit) = unit.unwrap_or((&upper, 1.0));
        let bytes = number.trim().parse::<f64>().ok().map(|number| (number * unit).floor());
        match bytes {
            Some(bytes) if (1.0..9e15).contains(&bytes) => Ok(ByteSize(bytes as u64)),
            _ => Err(format!("invalid size `{text}`: expected a number of bytes such as 60MB, 60MiB or 60000000")),
        }
    }
}

/// The goal of a choice of bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The smallest file within limits on the error.
    Error(Budget),
    /// The smallest error in a file of at most this size, its header included.
    Size(ByteSize),
}

impl Goal {
    /// The limits by which errors are weighed.
    pub(crate) const fn budget(&self) -> Budget {
        match self {
            Goal::Error(budget) => *budget,
            Goal::Size(_) => Budget::REFERENCE,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Error(budget) => budget.fmt(f),
            Goal::Size(size) => f.pad(&format!("at most {size}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        let budget: Budget = "pooled>=0.9995, frame >= 0.998,nmse<=1e-3".parse().unwrap();
        assert_eq!(budget.to_string(), "pooled>=0.9995,frame>=0.998,nmse<=0.001");
        assert!((budget.limit(Criterion::Frame).unwrap() - 2e-3).abs() < 1e-12);
        assert_eq!("nmse<=0.5".parse::<Budget>().unwrap().limit(Criterion::Pooled), None);
        assert_eq!(budget.to_string().parse::<Budget>().unwrap().to_string(), budget.to_string());
        for text in ["nmse<=0.000000000000001", "pooled>=0.9999999999", "pooled>=0.99951"] {
            assert_eq!(text.parse::<Budget>().unwrap().to_string(), text);
        }
        for (text, words) in [
            ("", "expected pooled>=COSINE"),
            ("cosine>=0.9", "invalid limit `cosine>=0.9`"),
            ("pooled>0.9", "expected pooled>=NUMBER"),
            ("pooled<=0.9", "expected pooled>=NUMBER"),
            ("nmse>=0.1", "expected nmse<=NUMBER"),
            ("frame>=x", "`x` is not a number"),
            ("frame>=NaN", "expected a cosine"),
            ("frame>=1", "a cosine above 0 and below 1"),
            ("pooled>=99.95", "a cosine above 0 and below 1"),
            ("nmse<=0", "a number above 0"),
            ("nmse<=-1e-3", "a number above 0"),
            ("nmse<=1e-3,nmse<=1e-4", "limited twice"),
            ("pooled>=0.9,", "invalid limit ``"),
        ] {
            let error = text.parse::<Budget>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("60MB", 60_000_000),
            ("60 mb", 60_000_000),
            ("1.5GB", 1_500_000_000),
            ("2KiB", 2048),
            ("60000000", 60_000_000),
            ("512B", 512),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MB", "60TB", "-1MB", "0", "nan", "inf", "60M B"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
