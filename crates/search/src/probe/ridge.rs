//! Ridge regression on standardized values, with a penalty that is chosen by folds of groups.
//!
//! The weights minimize `‖X W − Y‖² + α ‖W‖²`, the intercept free, as scikit-learn's `Ridge(alpha=α)` after its
//! `StandardScaler`; of a tag with the classes 1 and −1 they are those of `RidgeClassifier`.

use nalgebra::{DMatrix, RowDVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::analysis::Folds;

/// The penalties that are tried, times the number of values of a vector.
const PENALTIES: [f64; 6] = [100.0, 10.0, 1.0, 0.1, 0.01, 0.001];

/// The folds by which a penalty is chosen.
const FOLDS: usize = 3;

/// A training set, prepared for any penalty.
struct Prepared {
    means: RowDVector<f64>,
    deviations: RowDVector<f64>,
    output_means: RowDVector<f64>,
    inputs: DMatrix<f64>,
    outputs: DMatrix<f64>,
    /// `XᵀX` if there are more rows than columns, otherwise `XXᵀ`.
    products: DMatrix<f64>,
    is_primal: bool,
}

impl Prepared {
    fn new(inputs: &DMatrix<f64>, outputs: &DMatrix<f64>) -> Self {
        let means = inputs.row_mean();
        let mut inputs = inputs.clone();
        inputs.row_iter_mut().for_each(|mut row| row -= &means);
        let rows = inputs.nrows() as f64;
        let deviations = RowDVector::from_iterator(
            inputs.ncols(),
            inputs.column_iter().map(|column| {
                let deviation = (column.norm_squared() / rows).sqrt();
                if deviation > 0.0 { deviation } else { 1.0 }
            }),
        );
        inputs.column_iter_mut().zip(deviations.iter()).for_each(|(mut column, deviation)| column /= *deviation);
        let output_means = outputs.row_mean();
        let mut outputs = outputs.clone();
        outputs.row_iter_mut().for_each(|mut row| row -= &output_means);
        let is_primal = inputs.nrows() > inputs.ncols();
        let transposed = inputs.transpose();
        let products = if is_primal { &transposed * &inputs } else { &inputs * &transposed };
        Prepared { means, deviations, output_means, inputs, outputs, products, is_primal }
    }

    /// The weights for a penalty, a column for each output.
    fn weights(&self, penalty: f64) -> DMatrix<f64> {
        let mut system = self.products.clone();
        (0..system.nrows()).for_each(|index| system[(index, index)] += penalty);
        let transposed = self.inputs.transpose();
        let right = if self.is_primal { &transposed * &self.outputs } else { self.outputs.clone() };
        let zeros = DMatrix::zeros(self.inputs.ncols(), self.outputs.ncols());
        // With a penalty above zero the matrix is positive definite, unless its values overflow.
        let Some(factor) = system.cholesky() else { return zeros };
        let solved = factor.solve(&right);
        if self.is_primal { solved } else { transposed * solved }
    }

    fn predict(&self, weights: &DMatrix<f64>, inputs: &DMatrix<f64>) -> DMatrix<f64> {
        let mut inputs = inputs.clone();
        inputs.row_iter_mut().for_each(|mut row| {
            row -= &self.means;
            row.component_div_assign(&self.deviations);
        });
        let mut predicted = inputs * weights;
        predicted.row_iter_mut().for_each(|mut row| row += &self.output_means);
        predicted
    }
}

/// The predictions of the rows `test` by a regression that is fitted to the rows `train`, and the penalty, which is chosen
/// among the rows `train` by folds of `groups`.
pub(super) fn predict(
    inputs: &DMatrix<f64>,
    outputs: &DMatrix<f64>,
    groups: &[usize],
    train: &[usize],
    test: &[usize],
    seed: u64,
) -> (DMatrix<f64>, f64) {
    let (train_inputs, train_outputs) = (inputs.select_rows(train), outputs.select_rows(train));
    let train_groups: Vec<usize> = train.iter().map(|&row| groups[row]).collect();
    let folds = Folds::new(&train_groups, FOLDS, &mut ChaCha8Rng::seed_from_u64(seed));
    let mut errors = [0.0; PENALTIES.len()];
    let width = inputs.ncols() as f64;
    for fold in 0..FOLDS {
        let (held_out, rest) = folds.split(fold);
        if held_out.is_empty() || rest.is_empty() {
            continue;
        }
        let prepared = Prepared::new(&train_inputs.select_rows(&rest), &train_outputs.select_rows(&rest));
        let (inputs, outputs) = (train_inputs.select_rows(&held_out), train_outputs.select_rows(&held_out));
        for (index, penalty) in PENALTIES.iter().enumerate() {
            let predicted = prepared.predict(&prepared.weights(penalty * width), &inputs);
            errors[index] += (predicted - &outputs).norm_squared();
        }
    }
    let best = (0..PENALTIES.len()).min_by(|&a, &b| f64::total_cmp(&errors[a], &errors[b])).unwrap_or(0);
    let penalty = PENALTIES[best] * width;
    let prepared = Prepared::new(&train_inputs, &train_outputs);
    (prepared.predict(&prepared.weights(penalty), &inputs.select_rows(test)), penalty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_normal_equations_in_both_forms() {
        let values = |rows, columns, seed: f64| {
            DMatrix::from_fn(rows, columns, |row, column| ((row * 7 + column * 13) as f64 * seed).sin())
        };
        for (rows, columns) in [(20, 5), (5, 20)] {
            let (inputs, outputs) = (values(rows, columns, 1.3), values(rows, 2, 0.7));
            let prepared = Prepared::new(&inputs, &outputs);
            let weights = prepared.weights(2.5);
            // The gradient of the loss is zero.
            let gradient =
                prepared.inputs.transpose() * (&prepared.inputs * &weights - &prepared.outputs) + &weights * 2.5;
            assert!(gradient.norm() < 1e-10, "{gradient}");
            // The mean of the predictions of the training rows is that of the outputs.
            let predicted = prepared.predict(&weights, &inputs);
            assert!((predicted.row_mean() - outputs.row_mean()).norm() < 1e-12);
        }
    }
}
