//! The options that choose a geometry, which all subcommands that compare vectors share.

use clap::Args;
use mert_search::{Catalogue, Geometry};

/// The options that choose a geometry.
#[derive(Debug, Args)]
pub(crate) struct GeometryArgs {
    /// The hidden states and their weights, such as 6 or 1:0.2,6:0.5,9:0.3 [default: all of the catalogue, equally]
    #[arg(long)]
    pub(crate) layers: Option<String>,
    /// Compare vectors as they are, without subtracting the catalogue's mean
    #[arg(long)]
    no_center: bool,
    /// Remove the largest principal components
    #[arg(long, value_name = "N", default_value_t = 0)]
    drop_components: usize,
    /// Correct scores for tracks that are close to everything (hubs)
    #[arg(long)]
    csls: bool,
}

impl GeometryArgs {
    /// The geometry over `catalogue`.
    pub(crate) fn geometry(&self, catalogue: &Catalogue) -> mert_search::Result<Geometry> {
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
