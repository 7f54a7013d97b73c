//! Where MIDI messages go, and the outlet that ends all notes whatever happens.
//!
//! - `outlet.rs`: the guard through which all messages pass.
//! - `lines.rs`, `midi_file.rs`: JSON lines and a Standard MIDI File. `port.rs`: a MIDI port, with the feature `live`.

mod lines;
mod midi_file;
mod outlet;
#[cfg(feature = "live")]
mod port;

pub use self::lines::LinesSink;
pub use self::midi_file::MidiFileSink;
pub use self::outlet::{MidiSink, Outlet};
#[cfg(feature = "live")]
pub use self::port::PortSink;
