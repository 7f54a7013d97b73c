//! Decoding of audio files to mono samples, packet by packet.
//!
//! [symphonia](https://github.com/pdeljanov/Symphonia) reads most containers and decodes most codecs. What it lacks is
//! in `containers/` and `codecs/`, what it does wrong is worked around in `quirks/`, and `ffmpeg/` runs an installed
//! program for the rest. From the bottom up:
//!
//! | | |
//! |---|---|
//! | `options.rs` | the types of the interface: `Damage`, `ReadOptions`, `AudioInfo` |
//! | `quirks/`, `containers/`, `codecs/` | the bytes presented to a reader, readers, decoders |
//! | `reader.rs` | the reader for a file, by its first bytes |
//! | `file.rs` | `AudioFile`, the state of a file that is being decoded |
//! | `packets.rs`, `skip.rs` | reading and decoding packets, and skipping them |
//! | `stream.rs` | `AudioFile` as a source of samples |
//! | `trims.rs`, `truncation.rs`, `open.rs` | opening a file: trims, the reason for a failure, the steps in order |

mod codecs;
mod containers;
mod ffmpeg;
mod file;
mod guard;
mod mp4_box;
mod open;
mod options;
mod packets;
mod planes;
mod quirks;
mod reader;
mod reasons;
mod skip;
mod stream;
mod trims;
mod truncation;

pub use ffmpeg::ffmpeg_version;
pub use file::AudioFile;
pub use options::{AudioInfo, Damage, ReadOptions};
