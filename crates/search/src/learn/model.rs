//! The models that are fitted: what they map, and their parameters.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::Space;
use crate::analysis::{Pca, Rows};
use crate::space::{Affine, Transform};

/// The principal components that a map of low rank reads, and the values that it returns, at most.
const COMPONENTS: usize = 64;
const RANK: usize = 32;

/// The kind of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    /// A factor above zero for each value of the placed vector.
    Diagonal,
    /// A matrix of at most 32 rows on at most 64 principal components of the catalogue's placed vectors.
    LowRank,
}

impl ModelKind {
    /// All kinds, the simplest first.
    pub const ALL: [ModelKind; 2] = [ModelKind::Diagonal, ModelKind::LowRank];
}

/// The vectors of judged tracks as each model reads them.
#[derive(Debug)]
pub(super) struct Features {
    tracks: Vec<usize>,
    /// The placed vectors as columns.
    placed: DMatrix<f64>,
    /// Their products with the components as columns.
    projected: DMatrix<f64>,
    /// The components as columns.
    components: DMatrix<f64>,
}

/// A model and its parameters: the logarithms of a diagonal's factors as a column, or a matrix.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    pub(super) kind: ModelKind,
    pub(super) parameters: DMatrix<f64>,
}

impl Features {
    pub(super) fn new(space: &Space<'_>, tracks: &[usize], seed: u64) -> Self {
        let catalogue = Rows::new(space, space.catalogue().live().ones().collect());
        // The components see no judgment: those of all tracks may be used.
        let components = Pca::of(&catalogue, COMPONENTS, Pca::REDUCTION, seed).components;
        let placed = Rows::new(space, tracks.to_vec()).columns(0..tracks.len());
        let projected = components.transpose() * &placed;
        Features { tracks: tracks.to_vec(), placed, projected, components }
    }

    /// The column of a track.
    pub(super) fn column(&self, track: usize) -> usize {
        self.tracks.binary_search(&track).unwrap_or(0)
    }

    /// A model that maps no track away from where it is, as far as its rank allows.
    pub(super) fn start(&self, kind: ModelKind) -> Model {
        let parameters = match kind {
            ModelKind::Diagonal => DMatrix::zeros(self.placed.nrows(), 1),
            ModelKind::LowRank => {
                let inputs = self.projected.nrows();
                DMatrix::identity(RANK.min(inputs), inputs)
            }
        };
        Model { kind, parameters }
    }

    /// The placed vectors, which are compared without a model.
    pub(super) fn unmapped(&self) -> DMatrix<f64> {
        self.placed.clone()
    }

    /// The mapped vectors of all tracks as columns.
    pub(super) fn map(&self, model: &Model) -> DMatrix<f64> {
        match model.kind {
            ModelKind::Diagonal => {
                let factors = model.parameters.map(f64::exp);
                let mut mapped = self.placed.clone();
                mapped.column_iter_mut().for_each(|mut column| column.component_mul_assign(&factors));
                mapped
            }
            ModelKind::LowRank => &model.parameters * &self.projected,
        }
    }

    /// The gradient of the parameters, given that of the mapped vectors.
    pub(super) fn backward(&self, model: &Model, mapped: &DMatrix<f64>, gradient: &DMatrix<f64>) -> DMatrix<f64> {
        match model.kind {
            // The derivative of exp(θ) x by θ is the mapped value.
            ModelKind::Diagonal => {
                let products = gradient.component_mul(mapped);
                DMatrix::from_column_slice(products.nrows(), 1, products.column_sum().as_slice())
            }
            ModelKind::LowRank => gradient * self.projected.transpose(),
        }
    }

    /// The model as the transform of a metric.
    pub(super) fn transform(&self, model: &Model) -> Transform {
        match model.kind {
            ModelKind::Diagonal => Transform::Diagonal(model.parameters.iter().map(|value| value.exp()).collect()),
            ModelKind::LowRank => {
                let matrix = &model.parameters * self.components.transpose();
                // Row by row.
                let weight = matrix.transpose().as_slice().to_vec();
                Transform::Linear(Affine { weight, bias: Vec::new(), inputs: matrix.ncols() })
            }
        }
    }
}
