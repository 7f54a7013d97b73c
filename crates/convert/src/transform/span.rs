//! The position of consecutive values in a tensor, for error messages.

/// A run of consecutive values of a tensor, in row-major order.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The tensor's name.
    pub tensor: &'a str,
    /// The tensor's shape, outermost first.
    pub shape: &'a [usize],
    /// The number of values that precede the run.
    pub start: usize,
}

impl Span<'_> {
    /// The index in the tensor of the value at `position` in the run.
    pub fn index(&self, position: usize) -> Vec<usize> {
        let mut flat = self.start + position;
        let mut index = vec![0; self.shape.len()];
        for (at, &extent) in index.iter_mut().zip(self.shape).rev() {
            *at = flat % extent.max(1);
            flat /= extent.max(1);
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_major() {
        let span = Span { tensor: "t", shape: &[2, 3, 4], start: 12 };
        assert_eq!(span.index(0), [1, 0, 0]);
        assert_eq!(span.index(7), [1, 1, 3]);
    }
}
