//! An event in the binary form, little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 4, 8, 8 | source, start, end |
//! | 4, 8, 4 | token, first frame, frames |
//! | 2 + 8 each | a bit for each feature that has a value, and the values |
//! | 1 (+ 8) | whether there is a rhythm ratio, and its two numbers |
//! | 4 + 18 each | the number of notes; key, velocity, start, end |

use mert_events::{Event, FEATURES, Note};

use super::reader::Reader;
use crate::{OracleError, Result};

pub(super) fn write_event(output: &mut Vec<u8>, event: &Event) {
    output.extend(event.source.to_le_bytes());
    output.extend(event.start.to_le_bytes());
    output.extend(event.end.to_le_bytes());
    output.extend(event.token.to_le_bytes());
    output.extend(event.first_frame.to_le_bytes());
    output.extend(event.frames.to_le_bytes());
    let bits = event.features.iter().enumerate().map(|(at, value)| u16::from(value.is_some()) << at);
    output.extend(bits.sum::<u16>().to_le_bytes());
    event.features.iter().flatten().for_each(|value| output.extend(value.to_le_bytes()));
    output.push(u8::from(event.rhythm_ratio.is_some()));
    event.rhythm_ratio.iter().flatten().for_each(|number| output.extend(number.to_le_bytes()));
    output.extend((event.notes.len() as u32).to_le_bytes());
    for note in &event.notes {
        output.extend([note.key, note.velocity]);
        output.extend(note.start.to_le_bytes());
        output.extend(note.end.to_le_bytes());
    }
}

pub(super) fn read_event(reader: &mut Reader) -> Result<Event> {
    let source = reader.number("events.source")?;
    let (start, end) = (reader.float("events.start")?, reader.float("events.end")?);
    let token = reader.number("events.token")?;
    let first_frame = u64::from_le_bytes(reader.array("events.first_frame")?);
    let frames = reader.number("events.frames")?;
    let present = u16::from_le_bytes(reader.array("events.features")?);
    if present >> FEATURES.len() != 0 {
        let expected = format!("bits for {} features", FEATURES.len());
        return Err(OracleError::field("events.features", expected, format!("{present:#b}")));
    }
    let mut features = [None; FEATURES.len()];
    for (at, value) in features.iter_mut().enumerate() {
        if present >> at & 1 == 1 {
            *value = Some(reader.float("events.features")?);
        }
    }
    let rhythm_ratio = match reader.byte("events.rhythm_ratio")? {
        0 => None,
        1 => Some([reader.number("events.rhythm_ratio")?, reader.number("events.rhythm_ratio")?]),
        found => return Err(OracleError::field("events.rhythm_ratio", "0 or 1", found)),
    };
    let mut notes = Vec::new();
    for _ in 0..reader.number("events.notes")? {
        let [key, velocity] = reader.array("events.notes")?;
        notes.push(Note { key, velocity, start: reader.float("events.notes")?, end: reader.float("events.notes")? });
    }
    Ok(Event { source, start, end, token, first_frame, frames, notes, features, rhythm_ratio })
}
