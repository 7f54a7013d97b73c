//! The recordings of a memory.

use mert_events::Event;
use serde::{Deserialize, Serialize};

/// A recording of a memory. The end of one and the start of the next are not continuous.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name of the file.
    pub name: String,
    /// The SHA-256 of the file in hexadecimal, if it is known.
    pub sha256: Option<String>,
    /// The length in seconds, if it is known.
    pub duration: Option<f64>,
    /// The number of its events in the memory.
    pub events: u32,
}

impl Source {
    /// Sets the number of events of each source from the events themselves.
    pub fn count(sources: &mut [Source], events: &[Event]) {
        for source in &mut *sources {
            source.events = 0;
        }
        for event in events {
            if let Some(source) = sources.get_mut(event.source as usize) {
                source.events += 1;
            }
        }
    }
}
