//! Checks of the values of a memory: what no oracle file may have, with the field's path.

use mert_events::{Event, FEATURES};

use super::{Material, Source};
use crate::{OracleError, Result};

/// The time in seconds by which an event may end after its recording: the rounding of a duration.
const ROUNDING: f64 = 1e-6;

/// The largest number of a frame: whole numbers up to it are exact in every reader of JSON.
const MOST_FRAMES: u64 = 1 << 53;

pub(super) fn check_material(material: &Material) -> Result<()> {
    match material {
        _ if material.is_empty() => Err(OracleError::Empty),
        Material::Symbols(_) => Ok(()),
        Material::Vectors(vectors) => {
            if vectors[0].is_empty() {
                return Err(OracleError::field("vectors[0]", "at least one value", "empty"));
            }
            for (index, vector) in vectors.iter().enumerate() {
                for (at, value) in vector.iter().enumerate() {
                    finite(|| format!("vectors[{index}][{at}]"), *value)?;
                }
            }
            Ok(())
        }
        Material::Events(events) => {
            for (index, event) in events.iter().enumerate() {
                check_event(index, event, index.checked_sub(1).map(|before| &events[before]))?;
            }
            Ok(())
        }
    }
}

fn check_event(index: usize, event: &Event, before: Option<&Event>) -> Result<()> {
    let path = |name: &str| format!("events[{index}].{name}");
    finite(|| path("start"), event.start)?;
    finite(|| path("end"), event.end)?;
    if event.start < 0.0 {
        return Err(OracleError::field(path("start"), "seconds from 0", event.start));
    }
    if event.end < event.start {
        return Err(OracleError::field(path("end"), format!("at least the start, {}", event.start), event.end));
    }
    if let Some(before) = before.filter(|before| before.source == event.source && event.start < before.start) {
        let expected = format!("at least {}, the start of the event before it", before.start);
        return Err(OracleError::field(path("start"), expected, event.start));
    }
    match event.first_frame.checked_add(u64::from(event.frames)) {
        Some(end) if end <= MOST_FRAMES => {}
        _ => return Err(OracleError::field(path("first_frame"), format!("at most {MOST_FRAMES}"), event.first_frame)),
    }
    if let Some(before) =
        before.filter(|before| before.source == event.source && event.first_frame < before.first_frame)
    {
        let expected = format!("at least {}, that of the event before it", before.first_frame);
        return Err(OracleError::field(path("first_frame"), expected, event.first_frame));
    }
    for (feature, value) in FEATURES.iter().zip(event.features) {
        if let Some(value) = value {
            finite(|| path(&format!("features ({})", feature.name)), value)?;
        }
    }
    for (at, note) in event.notes.iter().enumerate() {
        let path = |name: &str| format!("events[{index}].notes[{at}].{name}");
        finite(|| path("start"), note.start)?;
        finite(|| path("end"), note.end)?;
        if note.start < 0.0 {
            return Err(OracleError::field(path("start"), "seconds from 0", note.start));
        }
        if note.end < note.start {
            return Err(OracleError::field(path("end"), format!("at least the start, {}", note.start), note.end));
        }
        if note.key > 127 {
            return Err(OracleError::field(path("key"), "0 to 127", note.key));
        }
        if !(1..=127).contains(&note.velocity) {
            return Err(OracleError::field(path("velocity"), "1 to 127", note.velocity));
        }
    }
    if let Some([over, under]) = event.rhythm_ratio
        && (over == 0 || under == 0 || gcd(over, under) != 1)
    {
        let expected = "a reduced fraction of numbers from 1";
        return Err(OracleError::field(path("rhythm_ratio"), expected, format!("[{over}, {under}]")));
    }
    Ok(())
}

pub(super) fn check_sources(sources: &[Source], material: &Material) -> Result<()> {
    for (index, source) in sources.iter().enumerate() {
        check_digest(&format!("sources[{index}].sha256"), source.sha256.as_deref())?;
        if let Some(duration) = source.duration
            && !(duration.is_finite() && duration >= 0.0)
        {
            let expected = "a finite number of seconds from 0";
            return Err(OracleError::field(format!("sources[{index}].duration"), expected, duration));
        }
    }
    let counted: u64 = sources.iter().map(|source| u64::from(source.events)).sum();
    let Some(events) = material.events() else {
        if !sources.is_empty() && counted != material.len() as u64 {
            return Err(OracleError::field("sources", format!("{} events in all", material.len()), counted));
        }
        return Ok(());
    };
    let mut left = sources
        .iter()
        .enumerate()
        .flat_map(|(index, source)| std::iter::repeat_n(index as u32, source.events as usize));
    for (index, event) in events.iter().enumerate() {
        match left.next() {
            Some(source) if source == event.source => {}
            Some(source) => {
                let expected = format!("{source}, by the numbers of events of the sources");
                return Err(OracleError::field(format!("events[{index}].source"), expected, event.source));
            }
            None => return Err(OracleError::field("sources", format!("{} events in all", events.len()), counted)),
        }
        let duration = sources.get(event.source as usize).and_then(|source| source.duration);
        if let Some(duration) = duration.filter(|duration| event.end > duration + ROUNDING) {
            let expected = format!("at most {duration}, the duration of its source");
            return Err(OracleError::field(format!("events[{index}].end"), expected, event.end));
        }
    }
    if counted != events.len() as u64 {
        return Err(OracleError::field("sources", format!("{} events in all", events.len()), counted));
    }
    Ok(())
}

pub(super) fn check_digest(field: &str, digest: Option<&str>) -> Result<()> {
    let valid =
        |digest: &str| digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match digest.filter(|digest| !valid(digest)) {
        Some(digest) => Err(OracleError::field(field, "a SHA-256 of 64 lowercase hexadecimal digits", digest)),
        None => Ok(()),
    }
}

pub(super) fn check_feature_names(names: Option<&[String]>, material: &Material) -> Result<()> {
    let expected: Vec<&str> = match material {
        Material::Events(_) => FEATURES.iter().map(|feature| feature.name).collect(),
        _ => Vec::new(),
    };
    let names = names.unwrap_or_default();
    if names.iter().map(String::as_str).eq(expected.iter().copied()) {
        return Ok(());
    }
    Err(OracleError::field("feature_names", format!("[{}]", expected.join(", ")), format!("[{}]", names.join(", "))))
}

fn finite(field: impl Fn() -> String, value: f64) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    Err(OracleError::field(field(), "a finite number", value))
}

/// The greatest common divisor.
pub(crate) fn gcd(mut left: u32, mut right: u32) -> u32 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}
