//! Musical events: what a recording plays, as segments with a token, notes and named features.

pub mod barlow;
pub mod consonance;
mod error;
mod event;
mod features;
pub mod file;
pub mod level;
pub mod midi;
pub mod onset;
pub mod pitch;
pub mod rhythm;
pub mod scale;
pub mod segment;

pub use error::EventsError;
pub use event::{Event, Note};
pub use features::{FEATURES, Feature};

pub(crate) type Result<T, E = EventsError> = std::result::Result<T, E>;
