//! Chosen events as MIDI and as sound.

mod crossfade;
mod keeper;
mod midi_file;
mod placement;
mod wav;

pub use self::crossfade::{Rendered, Segment, join_segments};
pub use self::keeper::{MidiBytes, NoteKeeper, panic};
pub use self::midi_file::{MidiOptions, MidiReport, midi_file};
pub use self::placement::{Placed, end_to_end, ringing_ends};
pub use self::wav::{WavFormat, write_wav};
