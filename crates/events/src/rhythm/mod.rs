//! The eleven features of rhythm, from the ratio analysis that Øyvind Brandtsegg published with his Rhythm Ratio Analyzer
//! (<https://github.com/Oeyvind/rhythm_ratio_analyzer>), implemented here from its published behaviour.
//!
//! Onsets are cut into phrases ([`phrases`]), each phrase becomes whole rhythmic units at a tempo ([`analyse`]), the units have
//! a pulse of two or three ([`pulse()`]), and each event gets its values ([`RhythmValues`]).

mod approximate;
mod fit;
mod patterns;
mod phrase;
mod pulse;
mod recent;
mod tempo_factor;
mod values;

pub use self::approximate::approximate;
pub(crate) use self::patterns::check;
pub use self::patterns::{RhythmAnalysis, analyse};
pub use self::phrase::{Phrase, PhraseSettings, phrases};
pub use self::pulse::{Pulse, pulse};
pub use self::recent::RecentRhythm;
pub use self::tempo_factor::tempo_factor;
pub use self::values::{RhythmValues, rhythm_values};

#[cfg(test)]
mod tests;
