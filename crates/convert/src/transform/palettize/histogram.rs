//! The number of times that each f16 value occurs in a tensor.

use half::f16;

/// The counts of a tensor's f16 values, which take half a megabyte for a tensor of any size.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// By the bits of the value.
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: vec![0; 1 << 16] }
    }
}

impl Histogram {
    /// Counts values, which must be finite f16 values.
    pub fn add(&mut self, values: &[f32]) {
        for &value in values {
            // Both zeros are one value.
            self.counts[usize::from(f16::from_f32(value + 0.0).to_bits())] += 1;
        }
    }

    /// The values that occur, ascending, and their counts.
    pub(super) fn counts(&self) -> impl Iterator<Item = (f16, f64)> {
        let sign = 1 << 15;
        let bits = (sign..1 << 16).rev().chain(0..sign);
        bits.filter(|&bits| self.counts[bits] > 0).map(|bits| (f16::from_bits(bits as u16), self.counts[bits] as f64))
    }
}
