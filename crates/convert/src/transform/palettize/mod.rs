//! Palettization: weights as indices into a table of few values, which k-means chooses.
//!
//! - this file: the table and the indices; `histogram.rs`: the counts of a tensor's values; `k_means.rs`: the clusters.

mod histogram;
mod k_means;

use half::f16;
use serde::Serialize;

pub use self::histogram::Histogram;
use self::k_means::k_means;
use super::narrow::narrow;
use super::pack_bits::pack_bits;
use mert_arch::Dtype;

/// Palettizes f16 weights as coremltools'
/// [`palettize_weights`](https://apple.github.io/coremltools/docs-guides/source/opt-palettization-algos.html) does in its
/// mode `kmeans`: a weight is read as the value of the table at its index.
///
/// In one dimension the clusters with the least squared error can be computed. They are coremltools' for tensors of at least
/// 10 000 values; for smaller ones it starts scikit-learn's k-means from random values, and the error is no smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Palettize {
    /// The number of bits of an index.
    pub bits: usize,
}

/// A table of values, and the index for each f16.
#[derive(Debug, Clone)]
pub struct Palette {
    bits: usize,
    values: Vec<f16>,
    /// The index of each value that the histogram has, by the f16's bits.
    indices: Vec<u8>,
}

impl Palettize {
    /// The palette for a tensor with these counts. A tensor of no more distinct values than the table holds keeps them all;
    /// the rest of the table is zeros.
    pub fn palette(&self, histogram: &Histogram) -> Palette {
        let (halves, counts): (Vec<f16>, Vec<f64>) = histogram.counts().unzip();
        let values: Vec<f64> = halves.iter().map(|half| half.to_f64()).collect();
        let clusters = k_means(&values, &counts, 1 << self.bits);
        let mut table: Vec<f16> =
            clusters.iter().map(|cluster| f16::from_f32(narrow(cluster.centroid, Dtype::F16))).collect();
        table.resize(1 << self.bits, f16::ZERO);
        let mut indices = vec![0; 1 << 16];
        for (index, cluster) in clusters.iter().enumerate() {
            for half in &halves[cluster.range.clone()] {
                indices[usize::from(half.to_bits())] = index as u8;
            }
        }
        indices[usize::from(f16::NEG_ZERO.to_bits())] = indices[usize::from(f16::ZERO.to_bits())];
        Palette { bits: self.bits, values: table, indices }
    }
}

impl Palette {
    /// The bytes of the table, f16, little-endian.
    pub fn table(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// Replaces `out` with the packed indices of f16 values that the histogram has. Indices that do not fill the last byte are
    /// followed by zero bits, so that only the last piece of a tensor may have such a number of them.
    pub fn apply(&self, values: &[f32], out: &mut Vec<u8>) {
        out.clear();
        let index = |&value: &f32| self.indices[usize::from(f16::from_f32(value).to_bits())];
        pack_bits(values.iter().map(index), self.bits, out);
    }

    /// Replaces `out` with the values of the table for f16 values that the histogram has.
    pub fn decode(&self, values: &[f32], out: &mut Vec<f32>) {
        let index = |value: f32| self.indices[usize::from(f16::from_f32(value).to_bits())];
        out.clear();
        out.extend(values.iter().map(|&value| self.values[usize::from(index(value))].to_f32()));
    }
}

#[cfg(test)]
mod tests {
    use mert_testkit::fixture;
    use safetensors::SafeTensors;

    use super::*;

    fn palettize(bits: usize, values: &[f32]) -> (Vec<u8>, Vec<u8>) {
        let mut histogram = Histogram::default();
        values.chunks(100).for_each(|piece| histogram.add(piece));
        let palette = Palettize { bits }.palette(&histogram);
        let mut indices = vec![9];
        palette.apply(values, &mut indices);
        (palette.table(), indices)
    }

    /// Indices as numbers, read back bit by bit.
    fn unpacked(bytes: &[u8], bits: usize, count: usize) -> Vec<u8> {
        let bit = |at: usize| bytes[at / 8] >> (at % 8) & 1;
        (0..count).map(|i| (0..bits).map(|j| bit(i * bits + j) << j).sum()).collect()
    }

    #[test]
    fn tables_and_indices_are_those_of_coremltools() {
        let bytes = std::fs::read(fixture("coreml/compression.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let data = |name: String| file.tensor(&name).unwrap().data().to_vec();
        let weights = data("palette.weights".into());
        let values: Vec<f32> = weights.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect();
        for bits in [1, 2, 3, 4, 6, 8] {
            let (table, indices) = palettize(bits, &values);
            assert_eq!(unpacked(&indices, bits, values.len()), data(format!("palette.{bits}.indices")), "{bits}");
            assert_eq!(table, data(format!("palette.{bits}.table")), "{bits}");
        }
    }

    #[test]
    fn few_values_are_kept() {
        let values: Vec<f32> = (0..64).map(|i| [0.5, -0.25, 0.0, -0.0][i % 4]).collect();
        let (table, indices) = palettize(2, &values);
        let table: Vec<f32> = table.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect();
        assert_eq!(table, [-0.25, 0.0, 0.5, 0.0]);
        let read: Vec<f32> = unpacked(&indices, 2, 64).iter().map(|&index| table[usize::from(index)]).collect();
        assert_eq!(read, values);
    }
}
