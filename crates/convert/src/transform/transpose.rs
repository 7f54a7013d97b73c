use ndarray::{ArrayD, IxDyn};
use serde::Serialize;

/// Reorders the axes of a three-dimensional tensor: axis i of the result is axis `axes[i]` of the
/// input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Transpose {
    /// A permutation of 0, 1, 2.
    pub axes: [usize; 3],
}

impl Transpose {
    /// The reordered tensor, contiguous. A tensor of another rank is returned as it is: the plan gives
    /// this transform to Conv1d weights only.
    pub fn apply(&self, tensor: &ArrayD<f32>) -> ArrayD<f32> {
        if tensor.ndim() != self.axes.len() {
            return tensor.clone();
        }
        tensor.view().permuted_axes(IxDyn(&self.axes)).as_standard_layout().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array;

    use super::*;

    #[test]
    fn conv1d_weight_to_mlx() {
        // (out, in, kernel) = (2, 3, 4), value = 100·out + 10·in + kernel
        let weight = Array::from_shape_fn(IxDyn(&[2, 3, 4]), |i| (100 * i[0] + 10 * i[1] + i[2]) as f32);
        let moved = Transpose { axes: [0, 2, 1] }.apply(&weight);
        assert_eq!(moved.shape(), [2, 4, 3]);
        assert!(moved.is_standard_layout());
        for (index, &value) in moved.indexed_iter() {
            assert_eq!(value, (100 * index[0] + 10 * index[2] + index[1]) as f32);
        }
    }
}
