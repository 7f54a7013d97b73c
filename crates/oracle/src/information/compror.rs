//! Compror: a lossless code of a sequence by references to what came before.
//!
//! Lefebvre and Lecroq, "Compror: on-line lossless data compression with a factor oracle" (Information Processing Letters
//! 83, 2002).

use serde::Serialize;

use crate::Links;

/// A word of the code. Serialized as vmo's pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "(u32, u32)")]
pub enum Word {
    /// An event that no earlier one matches, by its state: the pair (0, state).
    New {
        /// The state.
        state: u32,
    },
    /// A repetition: the pair (length, start).
    Copy {
        /// The number of events.
        length: u32,
        /// The state of the first event that is repeated.
        start: u32,
    },
}

impl Word {
    /// The number of events that the word stands for.
    pub fn events(self) -> u32 {
        match self {
            Word::New { .. } => 1,
            Word::Copy { length, .. } => length,
        }
    }
}

impl From<Word> for (u32, u32) {
    fn from(word: Word) -> Self {
        match word {
            Word::New { state } => (0, state),
            Word::Copy { length, start } => (length, start),
        }
    }
}

/// The code of the whole sequence. Coding a part first and the rest later gives other words.
pub fn compror(links: &Links) -> Vec<Word> {
    let events = links.events();
    let mut words = Vec::new();
    let mut done = 0;
    while done < events {
        let mut end = done;
        while end < events && links.lrs(end + 1) > end - done {
            end += 1;
        }
        match links.sfx(end) {
            Some(link) if end > done => {
                let length = end - done;
                words.push(Word::Copy { length, start: link + 1 - length });
            }
            _ => {
                end = done + 1;
                words.push(Word::New { state: end });
            }
        }
        done = end;
    }
    words
}
