//! Workarounds for symphonia 0.6: changed presentations of files for its readers, and data that they ignore. One file
//! per fault, headed by a description of it.

mod adts;
mod aiff;
mod caf;
mod flac_head;
mod frames;
pub(super) mod he_aac;
mod lame_tag;
mod layout;
mod media;
pub(super) mod mp4_edits;
mod mp4_tags;
mod mpeg;
pub(super) mod ogg_pages;
mod pcm_header;
mod riff;
mod tags;
mod vorbis_blocks;

pub(super) use layout::Layout;
