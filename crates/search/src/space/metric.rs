//! A learned metric: a map of placed vectors, after which cosines are taken, with what it was learned from.
//!
//! A linear metric `A` maps the placed vector of a row, `z(x) = concat_g(√w_g · unit_g(x))` over the groups of its geometry,
//! so that without `A` the cosine of two placed vectors is the score of the geometry. A head maps the raw vectors of the
//! groups, one after the other, as MERIT's heads do. Both belong to one geometry, which the file records.

mod file;

use serde::{Deserialize, Serialize};

use mert_table::Provenance;

use super::Geometry;
use crate::catalogue::Catalogue;
use crate::{Result, SearchError};

/// The map of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// A factor for each value of the placed vector.
    Diagonal(Vec<f64>),
    /// A matrix, row by row, with a column for each value of the placed vector.
    Linear(Affine),
    /// `second(max(first(x), 0))` of the raw vectors.
    Head {
        /// The layer that reads the raw vectors.
        first: Affine,
        /// The layer that reads the other's output, negative values of which are 0.
        second: Affine,
    },
}

/// A matrix of shape `(outputs, inputs)`, row by row, and what is added to its product.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// The matrix.
    pub weight: Vec<f64>,
    /// What is added: a value for each output, or none.
    pub bias: Vec<f64>,
    /// The number of values that are read.
    pub inputs: usize,
}

/// A group that a metric reads, and its weight in the placed vector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricGroup {
    /// The group's name in [`Catalogue::groups`].
    pub name: String,
    /// The weight; the weights sum to 1. A head does not use it.
    pub weight: f64,
}

/// What a metric belongs to, and what it was learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricOrigin {
    /// The settings of the catalogue that it was learned in; `None` for a head that was not learned here.
    pub settings: Option<Provenance>,
    /// The groups that it reads, in order.
    pub groups: Vec<MetricGroup>,
    /// Whether the catalogue's mean is subtracted before the map.
    pub center: bool,
    /// The number of the largest principal components that are removed before the map.
    pub drop_components: usize,
    /// What it was learned from, with the gain on artists that it was not learned from.
    pub learned: serde_json::Value,
}

/// A learned metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    transform: Transform,
    origin: MetricOrigin,
}

impl Affine {
    /// The number of values that are returned.
    pub fn outputs(&self) -> usize {
        self.weight.len().checked_div(self.inputs).unwrap_or(0)
    }

    /// `weight · input + bias`.
    pub fn apply(&self, input: &[f64]) -> Vec<f64> {
        let bias = self.bias.iter().copied().chain(std::iter::repeat(0.0));
        let rows = self.weight.chunks_exact(self.inputs.max(1));
        rows.zip(bias).map(|(row, bias)| super::dot(row, input) + bias).collect()
    }
}

impl Metric {
    /// A metric that maps vectors by `transform`.
    ///
    /// # Errors
    /// [`SearchError::Query`] if sizes do not agree or a value is not finite.
    pub fn new(transform: Transform, origin: MetricOrigin) -> Result<Self> {
        let is_sound = |layer: &Affine| {
            let outputs = layer.outputs();
            outputs > 0
                && layer.weight.len() == outputs * layer.inputs
                && (layer.bias.is_empty() || layer.bias.len() == outputs)
                && layer.weight.iter().chain(&layer.bias).all(|value| value.is_finite())
        };
        let is_sound = match &transform {
            Transform::Diagonal(factors) => !factors.is_empty() && factors.iter().all(|factor| factor.is_finite()),
            Transform::Linear(layer) => is_sound(layer),
            Transform::Head { first, second } => {
                is_sound(first) && is_sound(second) && first.outputs() == second.inputs
            }
        };
        if !is_sound || origin.groups.is_empty() {
            return Err(SearchError::Query(
                "a metric needs groups, and finite weights of shapes that agree with each other".into(),
            ));
        }
        Ok(Metric { transform, origin })
    }

    /// The map.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// What it belongs to, and what it was learned from.
    pub fn origin(&self) -> &MetricOrigin {
        &self.origin
    }

    /// Whether it maps raw vectors, and not placed ones.
    pub fn is_head(&self) -> bool {
        matches!(self.transform, Transform::Head { .. })
    }

    /// The number of values that [`Metric::apply`] reads.
    pub fn inputs(&self) -> usize {
        match &self.transform {
            Transform::Diagonal(factors) => factors.len(),
            Transform::Linear(layer) | Transform::Head { first: layer, .. } => layer.inputs,
        }
    }

    /// The number of values that [`Metric::apply`] returns.
    pub fn outputs(&self) -> usize {
        match &self.transform {
            Transform::Diagonal(factors) => factors.len(),
            Transform::Linear(layer) | Transform::Head { second: layer, .. } => layer.outputs(),
        }
    }

    /// The mapped vector, of any length, of [`Metric::inputs`] values.
    pub fn apply(&self, input: &[f64]) -> Vec<f64> {
        match &self.transform {
            Transform::Diagonal(factors) => factors.iter().zip(input).map(|(factor, value)| factor * value).collect(),
            Transform::Linear(layer) => layer.apply(input),
            Transform::Head { first, second } => {
                let hidden: Vec<f64> = first.apply(input).into_iter().map(|value| value.max(0.0)).collect();
                second.apply(&hidden)
            }
        }
    }

    /// What the values `start..start + input.len()` of a placed vector add to the mapped vector of a linear metric: the
    /// sum of all groups' parts is [`Metric::apply`] of the whole. `None` for a head, which is not a sum.
    pub fn apply_part(&self, start: usize, input: &[f64]) -> Option<Vec<f64>> {
        match &self.transform {
            Transform::Diagonal(factors) => {
                let mut output = vec![0.0; factors.len()];
                let factors = factors.get(start..)?.iter().zip(input);
                output.get_mut(start..)?.iter_mut().zip(factors).for_each(|(output, (factor, value))| {
                    *output = factor * value;
                });
                Some(output)
            }
            Transform::Linear(layer) => {
                let rows = layer.weight.chunks_exact(layer.inputs.max(1));
                rows.map(|row| Some(super::dot(row.get(start..start + input.len())?, input))).collect()
            }
            Transform::Head { .. } => None,
        }
    }

    /// The geometry over `catalogue` that the metric belongs to, itself not included.
    ///
    /// # Errors
    /// [`SearchError::Query`] if the catalogue was made with another model or other settings, or does not have the groups.
    pub fn geometry(&self, catalogue: &Catalogue) -> Result<Geometry> {
        let refused = |reason: String| SearchError::Query(format!("the metric does not fit the catalogue: {reason}"));
        if let Some(difference) =
            self.origin.settings.as_ref().and_then(|settings| catalogue.settings().difference_in_values(settings))
        {
            return Err(refused(format!(
                "its rows have other settings than those that the metric was learned from: {difference}"
            )));
        }
        let mut weights = Vec::with_capacity(self.origin.groups.len());
        let mut inputs = 0;
        for MetricGroup { name, weight } in &self.origin.groups {
            let groups = catalogue.groups();
            let group = groups.iter().position(|group| group.name == *name).ok_or_else(|| {
                let names = groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ");
                refused(format!("the metric reads hidden state {name}; the catalogue has {names}"))
            })?;
            weights.push((group, *weight));
            inputs += groups[group].dim;
        }
        if inputs != self.inputs() {
            return Err(refused(format!(
                "the metric reads {} values, and the vectors of its hidden states have {inputs}",
                self.inputs()
            )));
        }
        let (center, drop_components) = (self.origin.center, self.origin.drop_components);
        Ok(Geometry { weights, center, drop_components, csls: false, metric: None })
    }

    /// Checks that `geometry` over `catalogue` is the one that the metric belongs to. CSLS, which corrects scores, is free.
    ///
    /// # Errors
    /// [`SearchError::Query`] with what differs.
    pub fn check(&self, catalogue: &Catalogue, geometry: &Geometry) -> Result<()> {
        let own = self.geometry(catalogue)?;
        let difference = if own.weights.len() != geometry.weights.len()
            || own.weights.iter().zip(&geometry.weights).any(|(a, b)| a.0 != b.0 || (a.1 - b.1).abs() > 1e-9)
        {
            let groups = self.origin.groups.iter().map(|group| format!("{}:{}", group.name, group.weight));
            format!("it needs --layers {}", groups.collect::<Vec<_>>().join(","))
        } else if own.center != geometry.center {
            format!("it was learned {} centring", if own.center { "with" } else { "without" })
        } else if own.drop_components != geometry.drop_components {
            format!("it was learned with --drop-components {}", own.drop_components)
        } else {
            return Ok(());
        };
        Err(SearchError::Query(format!("the metric belongs to another geometry: {difference}")))
    }
}

#[cfg(test)]
mod tests;
