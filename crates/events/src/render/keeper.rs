//! Live MIDI messages, and the notes that sound.

/// A MIDI channel message of three bytes, as a port sends it.
pub type MidiBytes = [u8; 3];

const NOTE_OFF: u8 = 0x80;
const NOTE_ON: u8 = 0x90;
const CONTROL: u8 = 0xB0;
const ALL_SOUND_OFF: u8 = 120;
const ALL_NOTES_OFF: u8 = 123;

/// The keeper of the notes that sound: all messages go through it, so that it can end all of them.
#[derive(Debug, Clone, Default)]
pub struct NoteKeeper {
    /// The keys that sound in each channel, a bit a key.
    sounding: [u128; 16],
}

impl NoteKeeper {
    /// A keeper of no notes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The messages that start a note; if it sounds, it is ended first. None for a channel above 15 or a key above 127. The
    /// velocity is brought to 1 to 127: 0 would be an end.
    pub fn start(&mut self, channel: u8, key: u8, velocity: u8) -> Vec<MidiBytes> {
        let Some(bit) = self.bit(channel, key) else {
            return Vec::new();
        };
        let mut messages = self.end(channel, key);
        self.sounding[usize::from(channel)] |= bit;
        messages.push([NOTE_ON | channel, key, velocity.clamp(1, 127)]);
        messages
    }

    /// The message that ends a note, if it sounds.
    pub fn end(&mut self, channel: u8, key: u8) -> Vec<MidiBytes> {
        let Some(bit) = self.bit(channel, key) else {
            return Vec::new();
        };
        let channel_notes = &mut self.sounding[usize::from(channel)];
        if *channel_notes & bit == 0 {
            return Vec::new();
        }
        *channel_notes &= !bit;
        vec![[NOTE_OFF | channel, key, 0]]
    }

    /// The messages that end all notes, by channel and key.
    pub fn end_all(&mut self) -> Vec<MidiBytes> {
        let sounding = self.sounding();
        sounding.into_iter().flat_map(|(channel, key)| self.end(channel, key)).collect()
    }

    /// The notes that sound, as channel and key.
    pub fn sounding(&self) -> Vec<(u8, u8)> {
        let keys = |channel: u8| (0..128u8).map(move |key| (channel, key));
        (0..16u8).flat_map(keys).filter(|&(channel, key)| self.sounding[usize::from(channel)] >> key & 1 == 1).collect()
    }

    /// The messages that end all notes one by one, and then everything that may sound in a synthesiser ([`panic()`]).
    pub fn panic(&mut self) -> Vec<MidiBytes> {
        let mut messages = self.end_all();
        messages.extend(panic());
        messages
    }

    fn bit(&self, channel: u8, key: u8) -> Option<u128> {
        (channel < 16 && key < 128).then(|| 1 << key)
    }
}

/// The messages that silence a synthesiser, whatever it plays: controllers 123 (all notes off) and 120 (all sound off) on all 16
/// channels.
pub fn panic() -> Vec<MidiBytes> {
    (0..16).flat_map(|channel| [[CONTROL | channel, ALL_NOTES_OFF, 0], [CONTROL | channel, ALL_SOUND_OFF, 0]]).collect()
}

#[cfg(test)]
mod tests {
    use midly::MidiMessage;
    use midly::live::LiveEvent;

    use super::*;

    #[test]
    fn every_note_that_starts_ends_once() {
        let mut keeper = NoteKeeper::new();
        assert_eq!(keeper.start(0, 60, 100), [[0x90, 60, 100]]);
        assert_eq!(keeper.start(0, 60, 0), [[0x80, 60, 0], [0x90, 60, 1]]);
        assert_eq!(keeper.start(15, 127, 255), [[0x9F, 127, 127]]);
        assert_eq!(keeper.start(3, 0, 64), [[0x93, 0, 64]]);
        assert_eq!(keeper.sounding(), [(0, 60), (3, 0), (15, 127)]);
        assert_eq!(keeper.end(3, 0), [[0x83, 0, 0]]);
        assert!(keeper.end(3, 0).is_empty());
        assert_eq!(keeper.end_all(), [[0x80, 60, 0], [0x8F, 127, 0]]);
        assert!(keeper.sounding().is_empty() && keeper.end_all().is_empty());
        assert!(
            keeper.start(16, 60, 1).is_empty() && keeper.start(0, 128, 1).is_empty() && keeper.end(16, 0).is_empty()
        );
    }

    #[test]
    fn panic_silences_all_channels() {
        let mut keeper = NoteKeeper::new();
        keeper.start(2, 40, 1);
        let messages = keeper.panic();
        assert_eq!((messages.len(), messages[0]), (33, [0x82, 40, 0]));
        for channel in 0..16u8 {
            for controller in [123, 120] {
                let is_it = |message: &MidiBytes| {
                    matches!(LiveEvent::parse(message), Ok(LiveEvent::Midi {
                        channel: found,
                        message: MidiMessage::Controller { controller: number, value },
                    }) if found == channel && number == controller && value == 0)
                };
                assert_eq!(messages.iter().filter(|message| is_it(message)).count(), 1);
            }
        }
    }
}
