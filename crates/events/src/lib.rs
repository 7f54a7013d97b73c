//! Musical events: what a recording plays, as segments with a token, notes and named features.

mod event;
mod features;

pub use event::{Event, Note};
pub use features::{FEATURES, Feature};
