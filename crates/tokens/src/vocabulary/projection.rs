//! The maps between a frame and the space of the centres: unit length, scaling, PCA, linear maps. All are computed in f64.

use crate::{Result, TokensError};

/// The normalisation of a frame before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Normalize {
    /// The frame as it is.
    #[default]
    None,
    /// The frame divided by its Euclidean length; a frame of zeros stays.
    L2,
}

impl Normalize {
    /// The name in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Normalize::None => "none",
            Normalize::L2 => "l2",
        }
    }

    /// Normalises frames of `dim` values in place, as [`Vocabulary::prepare`](super::Vocabulary::prepare) does: in f64, then
    /// rounded.
    pub fn apply(self, values: &mut [f32], dim: usize) {
        if self == Normalize::L2 {
            for frame in values.chunks_exact_mut(dim.max(1)) {
                let mut wide: Vec<f64> = frame.iter().map(|&value| f64::from(value)).collect();
                unit(&mut wide);
                frame.iter_mut().zip(&wide).for_each(|(value, &unit)| *value = unit as f32);
            }
        }
    }
}

impl std::fmt::Display for Normalize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Normalize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Normalize::None),
            "l2" => Ok(Normalize::L2),
            _ => Err(format!("unknown normalisation `{}`: expected l2 or none", mert_arch::printable_line(text))),
        }
    }
}

/// One map. Matrices are in row-major order, a row for each value of the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Division by the Euclidean length (`sklearn.preprocessing.Normalizer`, faiss's `NormalizationTransform`).
    L2,
    /// `(x − mean) / scale` (`sklearn.preprocessing.StandardScaler`).
    Standardize {
        /// The means; zeros where nothing is subtracted.
        mean: Vec<f64>,
        /// The divisors; ones where nothing is divided.
        scale: Vec<f64>,
    },
    /// `components · x − components · mean`, divided by `scale` if it whitens (`sklearn.decomposition.PCA.transform`).
    Pca {
        /// The mean of the frames.
        mean: Vec<f64>,
        /// The components, `(values, mean.len())`.
        components: Vec<f64>,
        /// The standard deviations of the results, of a PCA that whitens.
        scale: Option<Vec<f64>>,
    },
    /// `matrix · x + bias` (faiss's `LinearTransform`, of which OPQ and its PCA are kinds).
    Linear {
        /// The matrix, `(bias.len(), columns)`.
        matrix: Vec<f64>,
        /// The constants.
        bias: Vec<f64>,
        /// The width of `x`.
        columns: usize,
    },
}

impl Step {
    /// The name in files.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Step::L2 => "l2",
            Step::Standardize { .. } => "standardize",
            Step::Pca { .. } => "pca",
            Step::Linear { .. } => "linear",
        }
    }

    /// The widths of the operand and the result; `None` if any works.
    fn widths(&self) -> Result<Option<(usize, usize)>, String> {
        let error = |what: &str| Err(format!("the step `{}` {what}", self.name()));
        let arrays: Vec<&[f64]> = match self {
            Step::L2 => Vec::new(),
            Step::Standardize { mean, scale } => vec![mean, scale],
            Step::Pca { mean, components, scale } => vec![mean, components, scale.as_deref().unwrap_or_default()],
            Step::Linear { matrix, bias, .. } => vec![matrix, bias],
        };
        if arrays.iter().any(|array| array.iter().any(|value| !value.is_finite())) {
            return error("has values that are not finite");
        }
        Ok(match self {
            Step::L2 => None,
            Step::Standardize { mean, scale } => {
                if mean.is_empty() || mean.len() != scale.len() || scale.contains(&0.0) {
                    return error("needs means and divisors other than zero of one length");
                }
                Some((mean.len(), mean.len()))
            }
            Step::Pca { mean, components, scale } => {
                let rows = components.len().checked_div(mean.len()).unwrap_or_default();
                let fits = rows > 0 && rows.checked_mul(mean.len()) == Some(components.len());
                if !fits || scale.as_ref().is_some_and(|scale| scale.len() != rows || scale.contains(&0.0)) {
                    return error("has components, a mean and deviations of different widths");
                }
                Some((mean.len(), rows))
            }
            Step::Linear { matrix, bias, columns } => {
                if *columns == 0 || bias.is_empty() || bias.len().checked_mul(*columns) != Some(matrix.len()) {
                    return error("has a matrix and constants of different widths");
                }
                Some((*columns, bias.len()))
            }
        })
    }

    fn apply(&self, mut values: Vec<f64>) -> Vec<f64> {
        match self {
            Step::L2 => {
                unit(&mut values);
                values
            }
            Step::Standardize { mean, scale } => {
                values.iter_mut().zip(mean.iter().zip(scale)).for_each(|(x, (mean, scale))| *x = (*x - mean) / scale);
                values
            }
            Step::Pca { mean, components, scale } => {
                let row = |(row, components): (usize, &[f64])| {
                    let result = dot(components, &values) - dot(components, mean);
                    scale.as_ref().and_then(|scale| scale.get(row)).map_or(result, |scale| result / scale)
                };
                components.chunks_exact(mean.len()).enumerate().map(row).collect()
            }
            Step::Linear { matrix, bias, columns } => {
                matrix.chunks_exact(*columns).zip(bias).map(|(row, bias)| dot(row, &values) + bias).collect()
            }
        }
    }
}

/// Steps between a frame and the centres, the first first.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    steps: Vec<Step>,
    input_dim: usize,
    output_dim: usize,
}

impl Projection {
    /// Steps whose widths fit together; at least one of them must have a width.
    ///
    /// # Errors
    /// [`TokensError::Invalid`]: two steps do not fit together, or a value is not finite.
    pub fn new(steps: Vec<Step>) -> Result<Self> {
        let (mut input_dim, mut width) = (None, None);
        for step in &steps {
            let Some((input, output)) = step.widths().map_err(TokensError::Invalid)? else { continue };
            if width.is_some_and(|width| width != input) {
                return Err(TokensError::Invalid(format!(
                    "the step `{}` in front of the centres takes {input} values, and the one before it gives {}",
                    step.name(),
                    width.unwrap_or_default()
                )));
            }
            input_dim = input_dim.or(Some(input));
            width = Some(output);
        }
        match (input_dim, width) {
            (Some(input_dim), Some(output_dim)) => Ok(Projection { steps, input_dim, output_dim }),
            _ => Err(TokensError::Invalid("the steps in front of the centres have no width".into())),
        }
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The width of a frame.
    pub fn input_dim(&self) -> usize {
        self.input_dim
    }

    /// The width of the result.
    pub fn output_dim(&self) -> usize {
        self.output_dim
    }

    /// The result for a frame of [`Projection::input_dim`] values.
    pub(super) fn apply(&self, values: Vec<f64>) -> Vec<f64> {
        self.steps.iter().fold(values, |values, step| step.apply(values))
    }
}

/// Divides a vector by its Euclidean length; zeros stay.
pub(super) fn unit(values: &mut [f64]) {
    let length = dot(values, values).sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|value| *value /= length);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
