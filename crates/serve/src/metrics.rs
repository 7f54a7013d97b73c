//! The learned metrics that the server was started with, and what is known of their gain.

use std::path::Path;
use std::sync::Arc;

use mert_search::{Catalogue, Metric, Result, SearchError};
use serde::Serialize;
use serde_json::Value;

/// A learned metric with the name by which requests choose it.
#[derive(Debug, Clone)]
pub struct NamedMetric {
    /// The name: that of its file without the extension.
    pub name: String,
    /// The metric.
    pub metric: Arc<Metric>,
}

impl NamedMetric {
    /// Reads the metric at `path`, and checks that it fits `catalogue`.
    ///
    /// # Errors
    /// [`SearchError::Io`], and [`SearchError::Metric`] for a file of another kind or a metric of another catalogue.
    pub fn load(path: &Path, catalogue: &Catalogue) -> Result<Self> {
        let metric = Metric::load(path)?;
        let refused = |error: SearchError| SearchError::Metric { path: path.to_path_buf(), reason: error.to_string() };
        metric.geometry(catalogue).map_err(refused)?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(NamedMetric { name, metric: Arc::new(metric) })
    }
}

/// A metric as `GET /info` describes it.
#[derive(Debug, Serialize)]
pub(crate) struct MetricInfo {
    name: String,
    /// Its hidden states and their weights.
    layers: Vec<(String, f64)>,
    /// Whether it belongs to centred vectors.
    center: bool,
    /// The number of principal components that are removed before it is applied.
    components: usize,
    /// Whether it maps raw vectors, as a head that was not learned here does.
    is_head: bool,
    /// What it gained on artists that it was not learned from; none for a head.
    held_out: Option<HeldOut>,
}

/// What a metric gained on held-out judgments.
#[derive(Debug, Serialize)]
struct HeldOut {
    /// What was measured.
    figure: String,
    /// The number of held-out judgments, repetitions included.
    judgments: u64,
    /// The figure without the metric.
    before: f64,
    /// The figure with it.
    after: f64,
    /// The difference, and the bounds of its interval.
    gain: [f64; 3],
    /// What the interval covers, such as 0.975.
    level: f64,
}

impl MetricInfo {
    pub(crate) fn new(named: &NamedMetric) -> Self {
        let origin = named.metric.origin();
        MetricInfo {
            name: named.name.clone(),
            layers: origin.groups.iter().map(|group| (group.name.clone(), group.weight)).collect(),
            center: origin.center,
            components: origin.drop_components,
            is_head: named.metric.is_head(),
            held_out: held_out(&origin.learned),
        }
    }
}

/// The gain in the record of `mert-search learn`: a `LearnReport` as JSON.
fn held_out(learned: &Value) -> Option<HeldOut> {
    let chosen = &learned["chosen"];
    let model = learned["models"].as_array()?.iter().find(|model| &model["model"] == chosen)?;
    let value = |name: &str| model[name]["value"].as_f64();
    let gain = &model["gain"];
    Some(HeldOut {
        figure: learned["figure"].as_str()?.to_string(),
        judgments: model["held_out"].as_u64()?,
        before: value("before")?,
        after: value("after")?,
        gain: [gain["value"].as_f64()?, gain["low"].as_f64()?, gain["high"].as_f64()?],
        level: learned["level"].as_f64()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_gain_is_that_of_the_chosen_model_and_a_head_has_none() {
        let interval = |value: f64| json!({ "value": value, "low": value - 0.01, "high": value + 0.01 });
        let model = |name: &str, after: f64| {
            json!({ "model": name, "held_out": 120, "before": interval(0.6), "after": interval(after),
                "gain": interval(after - 0.6) })
        };
        let learned = json!({ "chosen": "low-rank", "figure": "share of triplets", "level": 0.975,
            "models": [model("diagonal", 0.65), model("low-rank", 0.7)] });
        let found = held_out(&learned).unwrap();
        assert_eq!((found.after, found.before, found.judgments), (0.7, 0.6, 120));
        assert!(held_out(&json!({})).is_none() && held_out(&json!({ "models": [], "chosen": null })).is_none());
    }
}
