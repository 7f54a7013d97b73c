//! The limits on divergence and size, as users write them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::goal::ByteSize;

/// A limit on the mean KL divergence of the logits from the unquantized model, in nats.
///
/// ```
/// use mert_budget::KlBudget;
///
/// assert_eq!("0.02".parse(), Ok(KlBudget(0.02)));
/// assert_eq!("kl<=0.02".parse(), Ok(KlBudget(0.02)));
/// assert!("kl>=0.02".parse::<KlBudget>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KlBudget(pub f64);

impl fmt::Display for KlBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("kl<={}", self.0))
    }
}

impl FromStr for KlBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim();
        let number = number.strip_prefix("kl").map_or(Some(number), |rest| rest.trim_start().strip_prefix("<="));
        match number.and_then(|number| number.trim().parse::<f64>().ok()) {
            // A uniform choice among 2048 codes diverges by 7.6 at most.
            Some(nats) if nats > 0.0 && nats <= 100.0 => Ok(KlBudget(nats)),
            _ => Err(format!(
                "invalid limit `{text}`: expected kl<=NUMBER, a divergence in nats above 0 such as kl<=0.02"
            )),
        }
    }
}

/// The goal of a choice of bits for a MusicGen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MusicgenGoal {
    /// The smallest files within a limit on the divergence.
    Kl(KlBudget),
    /// The smallest divergence in a bundle whose files of weights have at most this size together, headers included.
    Size(ByteSize),
}

impl MusicgenGoal {
    /// The divergence that counts as 1.
    pub(crate) const fn limit(&self) -> f64 {
        match self {
            MusicgenGoal::Kl(budget) => budget.0,
            MusicgenGoal::Size(_) => 1.0,
        }
    }
}

impl fmt::Display for MusicgenGoal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MusicgenGoal::Kl(budget) => budget.fmt(f),
            MusicgenGoal::Size(size) => f.pad(&format!("at most {size}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for text in ["0.02", "kl<=0.02", " kl <= 2e-2 "] {
            assert_eq!(text.parse(), Ok(KlBudget(0.02)), "{text}");
        }
        assert_eq!(KlBudget(0.02).to_string().parse(), Ok(KlBudget(0.02)));
        for text in ["", "0", "-1", "nan", "inf", "kl<0.02", "kl", "kl<=", "nmse<=0.1", "1e3"] {
            assert!(text.parse::<KlBudget>().unwrap_err().contains("expected kl<=NUMBER"), "{text}");
        }
    }
}
