//! The notes of a segment among those of a recording.

use crate::Note;

/// The notes that start within a segment, or up to `lead` before it: those from `lead` before its end on are the next one's.
/// `notes` ascend by start.
pub(super) fn starting(notes: &[Note], start: f64, end: f64, lead: f64) -> Vec<Note> {
    let from = notes.partition_point(|note| note.start < start - lead);
    let until = notes.partition_point(|note| note.start < end - lead);
    notes[from..until.max(from)].to_vec()
}

/// The keys that sound in a segment, ascending: of the notes that start in it, and of those that sound on in it for longer
/// than `lead`, or else for half of it.
pub(super) fn sounding_keys(notes: &[Note], start: f64, end: f64, lead: f64) -> Vec<u8> {
    let enough = lead.min((end - start) / 2.0);
    let until = notes.partition_point(|note| note.start < end - lead);
    let mut keys: Vec<u8> = notes[..until]
        .iter()
        .filter(|note| note.start >= start - lead || note.end.min(end) - note.start.max(start) > enough)
        .map(|note| note.key)
        .collect();
    keys.sort_unstable();
    keys
}

/// The starts of notes as onsets, in seconds: notes that start within `gap` of the first of a chord start with it.
pub fn note_onsets(notes: &[Note], gap: f64) -> Vec<f64> {
    let mut starts: Vec<f64> = notes.iter().map(|note| note.start).filter(|start| start.is_finite()).collect();
    starts.sort_by(f64::total_cmp);
    let mut onsets: Vec<f64> = Vec::new();
    for start in starts {
        if onsets.last().is_none_or(|last| start - last > gap) {
            onsets.push(start);
        }
    }
    onsets
}
