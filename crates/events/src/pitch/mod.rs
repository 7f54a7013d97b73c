//! The pitch of monophonic sound, by YIN: one pitch at a time; of a chord it finds one note, or none.
//!
//! Source: A. de Cheveigné and H. Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 111(4), 2002.
//! `docs/events.md` has the comparison with the crate `pitch-detection` 0.3.0 for which it was written.

mod difference;
mod note;
mod yin;

pub use self::note::{key_of, note_of, velocity_of};
pub use self::yin::{Pitch, PitchSettings, PitchTracker};

#[cfg(test)]
mod tests;
