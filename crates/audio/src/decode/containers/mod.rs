//! Containers that symphonia has no reader for: `au.rs` reads AU, `mpeg_in_wave.rs` unpacks MPEG audio from WAV.

pub(super) mod au;
pub(super) mod mpeg_in_wave;
