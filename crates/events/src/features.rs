//! The names of the features of an event: with the token, the 15 values of a gesture.

/// A feature of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// The name by which files and requests call it.
    pub name: &'static str,
    /// The unit and range of its values.
    pub unit: &'static str,
    /// A definition in one sentence.
    pub meaning: &'static str,
}

/// The features beside the token: three of consonance, eleven of rhythm.
pub const FEATURES: [Feature; 14] = [
    feature("consonance", "0 to 1", "the mean consonance of all pairs of sounding notes"),
    feature("harmonicity", "0 to 1", "the mean magnitude of Barlow's harmonicity of all pairs of sounding notes"),
    feature("root", "pitch class, 0 to 11", "the pitch class on which the sounding notes stand"),
    feature("units", "whole units", "the length of the event in rhythmic units"),
    feature("deviation", "share of the length", "the distance of the onset from the rhythmic grid"),
    feature("polarity", "-1, 0 or 1", "whether the onset is early, in time or late by more than 5%"),
    feature("pulse", "2 or 3 units", "the length of the pulse"),
    feature("pulse_position", "units", "the place of the onset within the pulse"),
    feature("unit_tempo", "units per minute", "the tempo of the rhythmic unit"),
    feature("beat_tempo", "pulses per minute", "the tempo of the pulse"),
    feature("indigestibility", "Barlow's", "the sum of the indigestibilities of the units of the phrase"),
    feature("tempo_factor", "ratio", "the tempo of the phrase over that of the phrase before it"),
    feature("onset_rate", "onsets per second", "the onsets of the phrase over its length"),
    feature("syncopation", "0 to 1", "the share of onsets of the phrase that are not on the pulse"),
];

const fn feature(name: &'static str, unit: &'static str, meaning: &'static str) -> Feature {
    Feature { name, unit, meaning }
}
