//! The options that choose a geometry, which all subcommands that compare vectors share.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use mert_search::{Catalogue, Geometry, Metric, SearchError};

use crate::number_args;

/// The options that choose a geometry.
#[derive(Debug, Args)]
#[command(next_help_heading = "Geometry")]
pub(crate) struct GeometryArgs {
    /// The hidden states and their weights, such as 6 or 1:0.2,6:0.5,9:0.3 [default: all of the catalogue, equally]
    #[arg(long)]
    pub(crate) layers: Option<String>,
    /// Subtract the catalogue's mean before vectors are compared, which is the default
    #[arg(long, overrides_with = "no_center")]
    center: bool,
    /// Compare vectors as they are, without subtracting the catalogue's mean
    #[arg(long, overrides_with = "center")]
    no_center: bool,
    /// Remove the largest principal components
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number_args::components)]
    drop_components: usize,
    /// Correct scores for tracks that are close to everything (hubs)
    #[arg(long)]
    csls: bool,
    /// Compare vectors as a metric of `mert-search learn` maps them; the other choices, but for --csls, are the metric's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["layers", "center", "no_center", "drop_components"])]
    metric: Option<PathBuf>,
}

impl GeometryArgs {
    /// The geometry over `catalogue`.
    pub(crate) fn geometry(&self, catalogue: &Catalogue) -> mert_search::Result<Geometry> {
        if let Some(path) = &self.metric {
            let metric = Metric::load(path)?;
            let refused = |error: SearchError| SearchError::Metric { path: path.clone(), reason: error.to_string() };
            let geometry = metric.geometry(catalogue).map_err(refused)?;
            return Ok(Geometry { csls: self.csls, metric: Some(Arc::new(metric)), ..geometry });
        }
        let mut geometry = Geometry::of(catalogue);
        if let Some(layers) = &self.layers {
            geometry.weights = Geometry::parse_weights(catalogue, layers)?;
        }
        geometry.center = !self.no_center;
        geometry.drop_components = self.drop_components;
        geometry.csls = self.csls;
        Ok(geometry)
    }
}
