//! What must hold in a file of events.

use super::Recording;
use crate::barlow::gcd;
use crate::{Event, FEATURES, Note};

/// The time in seconds by which an event may end after its recording: the rounding of a duration.
const ROUNDING: f64 = 1e-6;

/// The largest number of a frame: whole numbers up to it are exact in every reader of JSON.
const MOST_FRAMES: u64 = 1 << 53;

/// The problem of a recording at `index`, if it has one.
pub(super) fn check_recording(index: usize, recording: &Recording) -> Result<(), String> {
    check_digest("sha256", &recording.sha256)?;
    let duration = recording.duration;
    if !(duration.is_finite() && duration >= 0.0) {
        return Err(format!("`duration` is {duration}, expected seconds"));
    }
    let (mut before, mut first_frame) = (0.0, 0);
    for (number, event) in recording.events.iter().enumerate() {
        let at = |problem: String| format!("event {number}: {problem}");
        if event.source as usize != index {
            return Err(at(format!("`source` is {}, expected {index}, the index of the recording", event.source)));
        }
        let (start, end) = (event.start, event.end);
        if !(start.is_finite() && end.is_finite() && start >= before && end > start) {
            return Err(at(format!("it is from {start} s to {end} s, expected ascending times from {before} s on")));
        }
        if end > duration + ROUNDING {
            return Err(at(format!("it ends at {end} s, and the recording at {duration} s")));
        }
        let last = event.first_frame.checked_add(u64::from(event.frames));
        if event.first_frame < first_frame || last.is_none_or(|last| last > MOST_FRAMES) {
            let found = event.first_frame;
            return Err(at(format!("`first_frame` is {found}, expected ascending numbers up to {MOST_FRAMES}")));
        }
        check_event(event).map_err(at)?;
        (before, first_frame) = (end, event.first_frame);
    }
    Ok(())
}

fn check_event(event: &Event) -> Result<(), String> {
    for (value, feature) in event.features.iter().zip(&FEATURES) {
        if value.is_some_and(|value| !value.is_finite()) {
            return Err(format!("`{}` is not a finite number", feature.name));
        }
    }
    if let Some([p, q]) = event.rhythm_ratio
        && (p == 0 || q == 0 || gcd(p.into(), q.into()) != 1)
    {
        return Err(format!("`rhythm_ratio` is {p}:{q}, expected a reduced fraction of numbers above 0"));
    }
    let mut before: Option<&Note> = None;
    for note in &event.notes {
        check_note(note)?;
        if before.is_some_and(|before| (before.start, before.key) > (note.start, note.key)) {
            return Err(format!("the note {} at {} s is not in the order of start and key", note.key, note.start));
        }
        before = Some(note);
    }
    Ok(())
}

fn check_note(note: &Note) -> Result<(), String> {
    if note.key > 127 {
        return Err(format!("the key {} of a note is not from 0 to 127", note.key));
    }
    if !(1..=127).contains(&note.velocity) {
        return Err(format!("the velocity {} of a note is not from 1 to 127", note.velocity));
    }
    if !(note.start.is_finite() && note.end.is_finite() && note.end > note.start) {
        return Err(format!("a note is from {} s to {} s, expected ascending times", note.start, note.end));
    }
    Ok(())
}

/// The problem of a SHA-256, if it has one.
pub(super) fn check_digest(name: &str, digest: &str) -> Result<(), String> {
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_digest { Ok(()) } else { Err(format!("`{name}` is `{digest}`, expected a SHA-256 of 64 lower-case digits")) }
}
