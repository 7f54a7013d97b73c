//! How a geometry places the vectors of one group: centred, without the largest principal components, and of length 1.

/// What is subtracted from the vectors of a group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placement {
    /// The mean μ, zeros without centring.
    pub(crate) mean: Vec<f64>,
    /// The components that are removed, of length 1 and orthogonal.
    pub(crate) components: Vec<Vec<f64>>,
}

impl Placement {
    /// P(x − μ): `vector` centred and without the components.
    pub(crate) fn center(&self, vector: &mut [f64]) {
        vector.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value -= mean);
        self.project(vector);
    }

    /// P x: `vector` without the components.
    pub(crate) fn project(&self, vector: &mut [f64]) {
        for component in &self.components {
            let length = dot(component, vector);
            vector.iter_mut().zip(component).for_each(|(value, component)| *value -= length * component);
        }
    }

    /// [`Placement::center`] of a row, into `vector`.
    pub(crate) fn center_row(&self, row: &[f32], vector: &mut Vec<f64>) {
        vector.clear();
        vector.extend(row.iter().zip(&self.mean).map(|(&value, mean)| f64::from(value) - mean));
        self.project(vector);
    }
}

/// Scales a vector to length 1; one of length 0 stays as it is. Returns its length before.
pub(crate) fn normalize(vector: &mut [f64]) -> f64 {
    let length = norm(vector);
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    length
}

/// The length of a vector of values that f32 can hold: their squares stay in the range of f64.
pub(crate) fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

/// The dot product of two vectors, summed in eight lanes: the order is the same on every processor.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest
}
