//! Musical events: what a recording plays, as segments with a token, notes and named features.
//!
//! Samples come in (mono, at any rate), events go out: [`onset`] finds where they start, [`pitch`] and [`midi`] what they
//! play, [`consonance`] and [`rhythm`] compute the features, [`segment`] puts them together, [`scale`] makes features
//! comparable, [`mod@file`] keeps them, and [`render`] turns chosen events into MIDI and sound. Nothing here decodes audio or
//! runs a model. The definitions and their sources are in `docs/events.md`.

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
pub mod render;
pub mod rhythm;
pub mod scale;
pub mod segment;

pub use error::EventsError;
pub use event::{Event, Note};
pub use features::{FEATURES, Feature};

pub(crate) type Result<T, E = EventsError> = std::result::Result<T, E>;
