//! The transposition of Conv1d weights.

use serde::Serialize;

/// A transposition of a three-dimensional tensor: axis i of the result is axis `axes[i]` of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transpose {
    /// A permutation of 0, 1, 2.
    pub axes: [usize; 3],
}

impl Transpose {
    /// Whether the outermost axis stays, so that a tensor can be reordered a few rows at a time.
    pub fn keeps_rows(&self) -> bool {
        self.axes[0] == 0
    }

    /// Replaces `out` with the reordered values of a row-major tensor of this shape. Values of another rank stay as they
    /// are; the plan transposes Conv1d weights only.
    pub fn apply(&self, shape: &[usize], values: &[f32], out: &mut Vec<f32>) {
        let &[_, height, width] = shape else {
            out.clear();
            out.extend_from_slice(values);
            return;
        };
        let strides = [height * width, width, 1];
        let [(planes, plane), (rows, row), (columns, column)] = self.axes.map(|axis| (shape[axis], strides[axis]));
        out.resize(values.len(), 0.0);
        let mut outs = out.chunks_exact_mut(columns.max(1));
        for i in 0..planes {
            for (j, out) in (0..rows).zip(&mut outs) {
                let mut at = i * plane + j * row;
                for out in out {
                    *out = values[at];
                    at += column;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_permutation(shape in proptest::array::uniform3(1usize..6), axes in Just([0, 1, 2]).prop_shuffle()) {
            // value = 100 · first + 10 · second + third index
            let value = |i: usize, j: usize, k: usize| (100 * i + 10 * j + k) as f32;
            let mut values = Vec::new();
            for i in 0..shape[0] {
                for j in 0..shape[1] {
                    values.extend((0..shape[2]).map(|k| value(i, j, k)));
                }
            }
            let mut moved = Vec::new();
            Transpose { axes }.apply(&shape, &values, &mut moved);
            let extents = axes.map(|axis| shape[axis]);
            prop_assert_eq!(moved.len(), values.len());
            for (n, &found) in moved.iter().enumerate() {
                let at = [n / (extents[1] * extents[2]), n / extents[2] % extents[1], n % extents[2]];
                let mut index = [0; 3];
                axes.iter().zip(at).for_each(|(&axis, i)| index[axis] = i);
                prop_assert_eq!(found, value(index[0], index[1], index[2]));
            }
        }
    }

    #[test]
    fn conv1d_weight_to_mlx() {
        // (out, in, kernel) = (1, 2, 3) becomes (out, kernel, in).
        let mut moved = Vec::new();
        Transpose { axes: [0, 2, 1] }.apply(&[1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &mut moved);
        assert_eq!(moved, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
