//! The frames of a recording: a hidden state of windows, of which only the frames count that live use has too.
//!
//! A frame depends on its whole window: the normalisation, GroupNorm over time, attention in both directions. A vocabulary
//! therefore fixes how long windows are, how far apart they start, and which frames of each are kept ([`Framing`]); files
//! and live sound go through the same [`WindowCutter`] and [`FrameEncoder`].
//!
//! - `grid.rs`, `framing.rs`: frames in samples and seconds; windows, hops and kept frames.
//! - `cutter.rs`: samples in blocks to windows; `encoder.rs`: a window to its kept frames.
//! - `files.rs`: many files, decoded on threads of their own, in the order in which they are given.

mod cutter;
mod encoder;
mod files;
mod framing;
mod grid;

pub use cutter::{CutWindow, WindowCutter};
pub use encoder::{FrameEncoder, KeptFrames};
pub use files::{FileEvent, FileFrames, FileWindow, encode_files, read_file};
pub use framing::{Framing, Keep};
pub use grid::FrameGrid;
