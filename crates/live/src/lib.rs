//! Live use of tokens and an oracle: blocks of sound in, timed MIDI messages out.
//!
//! Data flows one way. A source of blocks (a file, raw samples, or a sound card through a [`ring()`]) feeds the [`Engine`], whose
//! outputs a [`Session`] sends through an [`Outlet`](sink::Outlet) to its sinks. In the engine, the samples go two ways: an onset detector
//! fires at once, and a resampler, windows and an encoder name the frames, on a thread of their own with live sound. At an
//! onset an event of the memory is recognised in what was heard, and what follows it there is played.
//!
//! - `engine/`, `heard.rs`, `encode.rs`, `work.rs`: from samples to events and tokens; threads and sample time.
//! - `answer/`, `schedule.rs`, `output.rs`: from what was heard to notes, and their times and reasons.
//! - `mode/`, `command.rs`: named settings, what chooses them, and what a player may type.
//! - `session.rs`, `ring.rs`, `sink/`, `statistics.rs`: sources, sinks, note-offs whatever happens, latencies.

pub mod answer;
mod command;
#[cfg(feature = "live")]
mod device;
mod encode;
mod engine;
mod error;
mod heard;
pub mod mode;
mod output;
mod ring;
mod schedule;
mod session;
pub mod sink;
mod statistics;
mod work;

pub use command::Command;
#[cfg(feature = "live")]
pub use device::InputDevice;
pub use encode::{ModelEncoder, WindowEncoder, WindowTokens};
pub use engine::{Engine, EngineSettings};
pub use error::LiveError;
pub use heard::TokenUse;
pub use output::{Answer, Cause, MatchRule, NamedRule, Output, TimedMidi, TokenFrom};
pub use ring::{Block, RingReader, RingWriter, ring};
pub use session::{Ending, Report, Session, Summary};
pub use statistics::{Counts, Latencies, Status};
pub use work::Pace;

pub(crate) type Result<T, E = LiveError> = std::result::Result<T, E>;
