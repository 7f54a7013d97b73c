//! Heads that were trained elsewhere, such as MERIT's: `Linear → ReLU → Linear` on raw vectors of several hidden states.

use crate::space::{Affine, Metric, MetricGroup, MetricOrigin, Transform};
use crate::{Result, SearchError};

/// The hidden states of MERT-v1-330M that MERIT's heads read, in order.
pub const HEAD_LAYERS: &str = "3,4,5,6,23";

/// The metric of a head that reads the hidden states `layers`, a list of names such as `3,4,5,6,23`. `first` and `second` are
/// its layers; `about` says where it is from.
///
/// # Errors
/// [`SearchError::Query`] for names that are given twice, and layers whose sizes do not agree.
pub fn head_metric(first: Affine, second: Affine, layers: &str, about: serde_json::Value) -> Result<Metric> {
    let names: Vec<&str> = layers.split(',').map(str::trim).collect();
    if names.iter().any(|name| name.is_empty()) || (1..names.len()).any(|index| names[..index].contains(&names[index]))
    {
        return Err(SearchError::Query(format!(
            "invalid --layers {layers}: expected different names, such as {HEAD_LAYERS}"
        )));
    }
    let weight = 1.0 / names.len() as f64;
    let groups = names.iter().map(|name| MetricGroup { name: (*name).to_string(), weight }).collect();
    let origin = MetricOrigin { settings: None, groups, center: false, drop_components: 0, learned: about };
    Metric::new(Transform::Head { first, second }, origin)
}
