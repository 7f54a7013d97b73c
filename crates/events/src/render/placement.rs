//! Chosen events at times of an output.

use crate::Event;

/// How far the start of an event may be from the end of the one before it in the same recording, in seconds, to follow it.
const NEAR: f64 = 1e-6;

/// A chosen event at a time of the output.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its start in the output, in seconds.
    pub start: f64,
}

/// The events one after another, from 0 on.
pub fn end_to_end<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Placed<'a>> {
    let mut start = 0.0;
    let place = |event: &'a Event| {
        let placed = Placed { event, start };
        start += event.end - event.start;
        placed
    };
    events.into_iter().map(place).collect()
}

/// For each event, in order of time, the end in the output until which its notes may sound: its own end, or that of the last of
/// the events that follow it both here and in its recording, so that a note that is held there is held here.
pub fn ringing_ends(placed: &[Placed<'_>]) -> Vec<f64> {
    let mut ends = vec![0.0; placed.len()];
    for index in (0..placed.len()).rev() {
        let Placed { event, start } = placed[index];
        let end = start + event.end - event.start;
        let is_followed = placed.get(index + 1).is_some_and(|next| {
            next.event.source == event.source
                && (next.event.start - event.end).abs() < NEAR
                && (next.start - end).abs() < NEAR
        });
        ends[index] = if is_followed { ends[index + 1] } else { end };
    }
    ends
}
