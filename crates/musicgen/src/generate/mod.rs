//! From a request to samples: edits of a recording by an instruction, and music from a text.
//!
//! - `generator.rs`: the models together; `edit.rs`: Instruct-MusicGen; `compose.rs`: MusicGen.
//! - `windows.rs`: the division of longer music; `piece.rs`: the codes of one window, step by step.
//! - `sampler.rs`: the choice of a code; `settings.rs`: the settings.
//! - `output.rs`: samples of windows, cross-faded; `listener.rs`: progress, finished audio, and the end on request.
//! - `instruction.rs`: the wording that Instruct-MusicGen was trained on.

mod compose;
mod edit;
mod generator;
mod instruction;
mod listener;
mod output;
mod piece;
mod sampler;
mod settings;
mod windows;

pub use self::compose::{Composition, check_length};
pub use self::generator::{Generated, Generator, Times};
pub use self::instruction::instruction;
pub use self::listener::{Listener, Progress};
pub use self::piece::Piece;
pub use self::sampler::Sampler;
pub use self::settings::{Sampling, Settings};
pub use self::windows::{Window, windows};
