/// Where in which tensor a run of values lies, so that an error can say it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The tensor's name.
    pub name: &'a str,
    /// Its shape, outermost first.
    pub shape: &'a [usize],
    /// How many values precede the run, in row-major order.
    pub first: usize,
}

impl Place<'_> {
    /// The index in the tensor of the run's value number `position`.
    pub fn index(&self, position: usize) -> Vec<usize> {
        let mut flat = self.first + position;
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
        let place = Place { name: "t", shape: &[2, 3, 4], first: 12 };
        assert_eq!(place.index(0), [1, 0, 0]);
        assert_eq!(place.index(7), [1, 1, 3]);
    }
}
