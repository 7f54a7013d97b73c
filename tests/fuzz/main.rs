//! The parsers of files that users are given by others: pickle, zip, safetensors, protobuf, Ogg, MP4, the journal, vocabularies, oracles,
//! events, requests, and the other containers of audio and arrays. A mutated fixture is read or refused: without a panic, in bounded memory and
//! in time. `scripts/check/fuzz.sh` runs new inputs for as long as wanted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod audio;
mod cfg;
mod checkpoint;
mod converted;
mod journal;
mod oracle;
mod package;
mod reference;
mod vocabulary;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use mert_testkit::fuzz::{Seed, Target};
use peak_alloc::PeakAlloc;
use tempfile::TempDir;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One target at a time: the allocator counts all threads.
static ALONE: Mutex<()> = Mutex::new(());

/// Memory that a parser may use beside a multiple of its input: decoders' tables, and a tensor of the fixtures.
const FIXED: usize = 48 << 20;

/// Memory for each byte of the input: deflate makes 1032 of one, and no fixture is as dense; a length that a file claims
/// is gigabytes.
const FOR_EACH_BYTE: usize = 64;

/// Fuzzes a parser of files: each input is written to a folder of its own under its fixture's name.
fn fuzz_file(
    name: &'static str,
    corpus: Vec<Seed>,
    repair: Option<fn(&mut [u8])>,
    parse: impl Fn(PathBuf) -> Result<(), String>,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder();
    let run = |input: &Seed| {
        let path = folder.path().join(&input.name);
        std::fs::write(&path, &input.bytes).map_err(|error| error.to_string())?;
        bounded(input.bytes.len(), || parse(path))
    };
    Target { name, corpus, repair, run: &run }.fuzz();
}

/// A folder in memory where there is one: the inputs are many and small.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs a parser and fails if it used more memory than an input of `length` bytes can need.
fn bounded(length: usize, parse: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = parse();
    let used = MEMORY.peak_usage().saturating_sub(before);
    let limit = FIXED + FOR_EACH_BYTE * length;
    if used > limit {
        return Err(format!("{} MB of memory for {length} bytes, more than {} MB", used >> 20, limit >> 20));
    }
    result
}

/// Fails if an error has no message.
fn said(error: impl std::fmt::Display) -> Result<(), String> {
    if error.to_string().trim().is_empty() { Err("an error without a message".into()) } else { Ok(()) }
}
