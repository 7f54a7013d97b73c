//! Tokens of files, written in the forms of other programs, and read from them.
//!
//! - `sequence.rs`: the tokens of one file; `runs.rs`: runs of equal tokens, and statistics.
//! - `format.rs`: the formats; `writer.rs`: a writer that takes one file at a time, so that memory does not grow with their
//!   number; a file for each format: `jsonl.rs`, `km.rs`, `gslm.rs`, `textless.rs`, `npy.rs`, `parquet.rs`.
//! - `read.rs`: tokens and vectors from files.

mod format;
mod gslm;
mod jsonl;
mod km;
mod npy;
mod parquet;
mod read;
mod runs;
mod sequence;
mod text_file;
mod textless;
mod writer;

/// The path that stands for standard output.
pub const STDOUT: &str = "/dev/stdout";

pub use self::format::TokenFormat;
pub use self::read::{ReadTokens, parse_tokens, read_tokens};
pub use self::runs::{Statistics, deduplicate};
pub use self::sequence::{Dense, OutputInfo, TokenSequence};
pub use self::writer::TokenWriter;

#[cfg(test)]
mod tests;
