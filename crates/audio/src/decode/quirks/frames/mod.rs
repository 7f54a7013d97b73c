//! Frame streams without a container: MPEG audio and AAC in ADTS. symphonia-bundle-mp3 and symphonia-codec-aac 0.6.1
//! [resynchronise](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-bundle-mp3/src/demuxer.rs#L585-L607)
//! after invalid data and drop it without an error, so that the frames are counted here before the reader sees them.
//!
//! `scan.rs` finds the frames of a stream by their headers; `header.rs` is the interface of a header, with the
//! implementations `mpeg.rs` and `adts.rs`; `lame_tag.rs` reads the number of frames that the first one may state.

pub(super) mod adts;
mod header;
mod lame_tag;
pub(super) mod mpeg;
mod scan;

pub(super) use scan::layout;
