//! Sizes in bytes as people type them: `5GB`, `500MB`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A number of bytes.
///
/// ```
/// use mert_convert::write::ByteSize;
///
/// assert_eq!("500MB".parse(), Ok(ByteSize(500_000_000)));
/// assert_eq!("1.5 GiB".parse(), Ok(ByteSize(3 << 29)));
/// assert_eq!(ByteSize(5 << 30).to_string(), "5 GiB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// The units. `KB` to `TB` are powers of 1000, as in transformers and on the Hugging Face hub.
const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl FromStr for ByteSize {
    type Err = String;

    /// Parses a positive number and a unit, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || format!("invalid size `{text}`: expected a number and a unit, such as 5GB, 500MB or 4GiB");
        let text = text.trim();
        let at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(invalid)?;
        let (number, unit) = text.split_at(at);
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(invalid)?;
        let number: f64 = number.trim_end().parse().map_err(|_| invalid())?;
        let bytes = number * *factor as f64;
        // Every whole number of an f64 up to 2^53 is exact; 8 PiB are more than any model.
        if (1.0..=(1u64 << 53) as f64).contains(&bytes) { Ok(ByteSize(bytes as u64)) } else { Err(invalid()) }
    }
}

impl fmt::Display for ByteSize {
    /// Formats with the largest unit that divides the size.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, factor): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        match UNITS.iter().filter(whole).max_by_key(|(_, factor)| *factor) {
            Some((unit, factor)) => f.pad(&format!("{} {unit}", self.0 / factor)),
            None if self.0 == 1 => f.pad("1 byte"),
            None => f.pad(&format!("{} bytes", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("5GB", 5_000_000_000),
            ("5gb", 5_000_000_000),
            ("5GiB", 5 << 30),
            ("0.5 KB", 500),
            (" 12 MB ", 12_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "5", "GB", "-1GB", "0GB", "5GBs", "5 G", "1e999GB", "nanGB", "5,5GB"] {
            assert!(text.parse::<ByteSize>().unwrap_err().contains("such as 5GB"), "{text}");
        }
        for (bytes, text) in
            [(5 << 30, "5 GiB"), (5_000_000_000, "5 GB"), (1500, "1500 bytes"), (2048, "2 KiB"), (0, "0 bytes")]
        {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }
}
