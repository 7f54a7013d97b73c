//! The starts and ends of the notes of a track.

use std::collections::BTreeMap;

use super::MidiNotes;

/// A note in ticks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Played {
    pub(super) channel: u8,
    pub(super) key: u8,
    pub(super) velocity: u8,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The pairing of the starts of a track with their ends.
#[derive(Debug, Default)]
pub(super) struct Pairing {
    /// The velocity and the start of each note that sounds, by channel and key.
    sounding: BTreeMap<(u8, u8), (u8, u64)>,
    played: Vec<Played>,
    restruck: u64,
    stray_ends: u64,
}

impl Pairing {
    /// Starts a note. If its key sounds, that note ends here: a key of a piano cannot sound twice.
    pub(super) fn start(&mut self, channel: u8, key: u8, velocity: u8, tick: u64) {
        if let Some((velocity, start)) = self.sounding.insert((channel, key), (velocity, tick)) {
            self.restruck += 1;
            self.played.push(Played { channel, key, velocity, start, end: tick });
        }
    }

    /// Ends a note.
    pub(super) fn end(&mut self, channel: u8, key: u8, tick: u64) {
        match self.sounding.remove(&(channel, key)) {
            Some((velocity, start)) => self.played.push(Played { channel, key, velocity, start, end: tick }),
            // A note that was struck twice may be ended twice.
            None => self.stray_ends += 1,
        }
    }

    /// The notes of the track, which ends at `tick`.
    pub(super) fn finish(mut self, tick: u64, result: &mut MidiNotes) -> Vec<Played> {
        result.unended += self.sounding.len() as u64;
        result.restruck += self.restruck;
        result.stray_ends += self.stray_ends;
        for ((channel, key), (velocity, start)) in self.sounding {
            self.played.push(Played { channel, key, velocity, start, end: tick });
        }
        self.played
    }
}
