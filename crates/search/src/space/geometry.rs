//! The choices that define how vectors are compared.

use std::sync::Arc;

use super::Metric;
use crate::catalogue::Catalogue;
use crate::{Result, SearchError, excerpt};

/// A geometry: which hidden states count how much, and what is done to their vectors before they are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Geometry {
    /// Hidden states by their index in [`crate::Catalogue::groups`], each with its weight, above zero; the weights sum to 1.
    pub weights: Vec<(usize, f64)>,
    /// Whether the catalogue's mean is subtracted.
    pub center: bool,
    /// The number of the largest principal components that are removed after centring.
    pub drop_components: usize,
    /// Whether scores are corrected for hubs by cross-domain similarity local scaling (CSLS): Lample et al.,
    /// <https://arxiv.org/abs/1710.04087>, section 2.3.
    pub csls: bool,
    /// A learned metric, which belongs to one choice of the others but for CSLS.
    pub metric: Option<Arc<Metric>>,
}

impl Geometry {
    /// The default over `catalogue`: all groups with equal weights, centred.
    pub fn of(catalogue: &Catalogue) -> Self {
        let groups = catalogue.groups().len();
        let weights = (0..groups).map(|group| (group, 1.0 / groups as f64)).collect();
        Geometry { weights, center: true, drop_components: 0, csls: false, metric: None }
    }

    /// The geometry as JSON that does not depend on the order of the catalogue's groups: for records and keys of caches.
    ///
    /// # Errors
    /// [`SearchError::Query`] if the metric cannot be written.
    pub fn describe(&self, catalogue: &Catalogue) -> Result<serde_json::Value> {
        let weights =
            self.weights.iter().filter_map(|&(group, weight)| Some((&catalogue.groups().get(group)?.name, weight)));
        Ok(serde_json::json!({
            "layers": weights.map(|(name, weight)| serde_json::json!([name, weight])).collect::<Vec<_>>(),
            "center": self.center,
            "drop_components": self.drop_components,
            "csls": self.csls,
            "metric": self.metric.as_ref().map(|metric| metric.sha256()).transpose()?,
        }))
    }

    /// Groups of `catalogue` with weights, such as `6`, `6,9` or `1:0.2,6:0.5,9:0.3`. Weights are divided by their sum; a
    /// group without one has the weight 1.
    ///
    /// # Errors
    /// [`SearchError::Query`] for a group that the catalogue does not have, one that is given twice, and a weight that is
    /// not a number above zero.
    pub fn parse_weights(catalogue: &Catalogue, text: &str) -> Result<Vec<(usize, f64)>> {
        let invalid = |reason: String| SearchError::Query(format!("invalid --layers {}: {reason}", excerpt(text)));
        let mut weights: Vec<(usize, f64)> = Vec::new();
        for item in text.split(',') {
            let (name, weight) = item.trim().split_once(':').unwrap_or((item.trim(), "1"));
            let group = catalogue.groups().iter().position(|group| group.name == name).ok_or_else(|| {
                let names = catalogue.groups().iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ");
                if name.is_empty() {
                    return SearchError::Query(format!(
                        "invalid --layers `{}`: expected hidden states of the catalogue, which has {names}",
                        excerpt(text)
                    ));
                }
                invalid(format!("the catalogue has no hidden state {}; it has {names}", excerpt(name)))
            })?;
            let weight: f64 =
                weight.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight > 0.0).ok_or_else(|| {
                    invalid(format!(
                        "expected a weight above zero for hidden state {name}, found `{}`",
                        excerpt(weight)
                    ))
                })?;
            if weights.iter().any(|&(other, _)| other == group) {
                return Err(invalid(format!("hidden state {name} is given twice")));
            }
            weights.push((group, weight));
        }
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        weights.iter_mut().for_each(|(_, weight)| *weight /= sum);
        Ok(weights)
    }
}
