//! The trims of an MP4 file. symphonia-format-isomp4 0.6.1 [reads edit
//! lists](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-isomp4/src/atoms/edts.rs#L13-L15) but
//! does not apply them ([#544](https://github.com/pdeljanov/Symphonia/issues/544)).

use std::io::{Read, Seek, SeekFrom};

use super::itunes_delay;
use crate::decode::mp4_box::BoxHeader;

/// The part of a track's decoded samples that is played, from an edit list (ISO/IEC 14496-12, 8.6.6). AAC encoders put
/// about 1024 to 2112 samples of their own before the music and fill up the last packet; the edit list states how many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::decode) struct Edit {
    /// The length of the trim at the start, in seconds.
    pub(in crate::decode) start: f64,
    /// The length of the part in seconds, if the list states it.
    pub(in crate::decode) duration: Option<f64>,
}

/// The statements of a file about a track's trims.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::decode) struct Edits {
    /// The edit list of the track.
    pub(in crate::decode) edit: Option<Edit>,
    /// The encoder delay in samples, from iTunes' tag. An edit list takes precedence.
    pub(in crate::decode) delay: Option<u64>,
}

/// Boxes whose children may hold an edit list or a tag.
const CONTAINERS: [[u8; 4]; 7] = [*b"moov", *b"trak", *b"edts", *b"mdia", *b"udta", *b"meta", *b"ilst"];

/// Reads the edits of the track with the id `track_id`. An edit list that does more than trim the ends is ignored;
/// music files have none.
pub(in crate::decode) fn read(file: &mut (impl Read + Seek), track_id: u32) -> std::io::Result<Edits> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut walk = Walk { track_id, ..Walk::default() };
    walk.boxes(file, 0, end, 0)?;
    Ok(Edits { edit: walk.result, delay: walk.delay })
}

/// The state of a walk through the boxes of a file.
#[derive(Default)]
struct Walk {
    track_id: u32,
    movie_scale: Option<u32>,
    /// The track that is being read.
    current: Track,
    result: Option<Edit>,
    delay: Option<u64>,
}

/// The statements about a track.
#[derive(Default)]
struct Track {
    id: Option<u32>,
    /// The duration in the movie's time scale, and the start in the media's, of the only entry of the edit list.
    entry: Option<(u64, u64)>,
    media_scale: Option<u32>,
}

impl Walk {
    /// Reads the boxes from `position` to `end`.
    fn boxes(&mut self, file: &mut (impl Read + Seek), mut position: u64, end: u64, depth: u32) -> std::io::Result<()> {
        /// The depth of the deepest box that matters here.
        const DEEPEST: u32 = 5;
        while position + 8 <= end && depth < DEEPEST {
            let Some(header) = BoxHeader::read(file, position)? else { return Ok(()) };
            let kind = &header.kind;
            let size = header.size.unwrap_or(end - position);
            if (size, header.length) == (1, 8) {
                // The file ends within a 64-bit size.
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let body = position + header.length;
            let Some(next) = position.checked_add(size).filter(|&next| body <= next && next <= end) else {
                return Ok(());
            };
            // In MP4, unlike QuickTime, version and flags precede the children.
            let body = if kind == b"meta" && !self.has_box(file, body)? { body + 4 } else { body };
            if CONTAINERS.iter().any(|container| container == kind) {
                if kind == b"trak" {
                    self.current = Track::default();
                }
                self.boxes(file, body, next, depth + 1)?;
                if kind == b"trak" {
                    self.finish_track();
                }
            } else if [*b"mvhd", *b"tkhd", *b"elst", *b"mdhd", *b"----"].iter().any(|wanted| wanted == kind) {
                // Relevant boxes are shorter, except for edit lists and tags that are ignored.
                let mut content = vec![0; usize::try_from((next - body).min(512)).unwrap_or(512)];
                file.seek(SeekFrom::Start(body))?;
                file.read_exact(&mut content)?;
                self.content(kind, &content);
            }
            position = next;
        }
        Ok(())
    }

    /// Whether a `hdlr` box, the first child of `meta`, begins at `offset`.
    fn has_box(&self, file: &mut (impl Read + Seek), offset: u64) -> std::io::Result<bool> {
        Ok(BoxHeader::read(file, offset)?.is_some_and(|header| &header.kind == b"hdlr"))
    }

    /// Takes the fields of a box that matters here.
    fn content(&mut self, kind: &[u8], content: &[u8]) {
        // A version and flags, then times of 32 bits in version 0 and of 64 bits in version 1.
        let wide = content.first() == Some(&1);
        let scale = |content: &[u8]| get(content, if wide { 20 } else { 12 });
        match kind {
            b"mvhd" => self.movie_scale = scale(content),
            b"mdhd" => self.current.media_scale = scale(content),
            b"----" => self.delay = self.delay.or_else(|| itunes_delay::delay(content)),
            b"tkhd" => self.current.id = get(content, if wide { 20 } else { 12 }),
            _ => {
                let narrow_at = |offset| get(content, offset).map(u64::from);
                let wide_at = |offset| Some((narrow_at(offset)? << 32) | narrow_at(offset + 4)?);
                let entry = |index: usize| match wide {
                    true => wide_at(8 + 20 * index).zip(wide_at(16 + 20 * index)),
                    false => narrow_at(8 + 12 * index).zip(narrow_at(12 + 12 * index)),
                };
                // A start of −1 is an empty edit. One before the audio delays it relative to a video.
                let is_audio = |entry: &(u64, u64)| entry.1 != if wide { u64::MAX } else { u64::from(u32::MAX) };
                self.current.entry = match (get(content, 4), entry(0)) {
                    (Some(1), first) => first.filter(is_audio),
                    (Some(2), Some(first)) if !is_audio(&first) => entry(1).filter(is_audio),
                    _ => None,
                };
            }
        }
    }

    /// Converts the edit list of the wanted track to seconds.
    fn finish_track(&mut self) {
        let Track { id, entry, media_scale } = &self.current;
        let scale = |scale: Option<u32>| scale.filter(|&scale| scale > 0).map(f64::from);
        if *id == Some(self.track_id)
            && let (Some((duration, start)), Some(media)) = (*entry, scale(*media_scale))
        {
            let duration = scale(self.movie_scale).map(|movie| duration as f64 / movie).filter(|&d| d > 0.0);
            self.result = Some(Edit { start: start as f64 / media, duration });
        }
    }
}

/// The big-endian number at `offset`, if it is there.
fn get(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}
