//! What works around symphonia 0.6: how a file is presented to its readers, and what is read beside them. One file for
//! each fault, headed by what is wrong upstream.

mod adts;
mod aiff;
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
