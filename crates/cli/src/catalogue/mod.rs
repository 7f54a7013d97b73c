//! Catalogues and what is compared with them: the model that their rows were computed with, and the seeds that texts mean.

mod model;
mod seeds;

pub use model::CatalogueModel;
pub use seeds::SeedReader;
