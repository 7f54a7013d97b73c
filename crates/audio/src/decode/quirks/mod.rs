//! Workarounds for symphonia 0.6.1, one file for each fault, headed by what is wrong in which crate. All line numbers
//! are those of its tag `v0.6.1`.
//!
//! Most of them present a file to its reader in pieces, with a header that the reader accepts and without data that is
//! not audio: `dispatch.rs` determines the `layout.rs` of a file, and `media.rs` reads its pieces as one file.
//!
//! | containers | file |
//! |---|---|
//! | WAV, AIFF | `wav.rs`, `aiff.rs`, with `chunks.rs`, `pcm_size.rs` (the length), `pcm_header.rs` |
//! | CAF | `caf.rs` |
//! | FLAC | `flac_head.rs` |
//! | MP3, AAC in ADTS | `frames/` |
//! | Matroska | `matroska.rs` |
//! | MP4, QuickTime | `mp4_edits.rs`, `itunes_delay.rs`, `mp4_end.rs`, `quicktime.rs` |
//! | Ogg | `ogg_pages.rs`, `vorbis_blocks.rs` |
//! | any | `tags.rs` |
//!
//! Faults of decoders are in `he_aac.rs`, `vorbis_coupling.rs` and `vorbis_codebooks.rs`.

mod aiff;
mod caf;
mod chunks;
mod dispatch;
mod flac_head;
mod frames;
pub(super) mod he_aac;
mod itunes_delay;
pub(super) mod layout;
pub(super) mod matroska;
pub(super) mod media;
pub(super) mod mp4_edits;
mod mp4_end;
pub(super) mod ogg_pages;
mod pcm_header;
mod pcm_size;
pub(super) mod quicktime;
mod tags;
mod vorbis_blocks;
mod vorbis_codebooks;
pub(super) mod vorbis_coupling;
mod wav;

pub(super) use dispatch::layout_of;
