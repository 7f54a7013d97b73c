//! Trims of the decoded samples of an MP4 file. symphonia 0.6.1 reads edit lists but does not apply them.

use std::io::{Read, Seek, SeekFrom};

use super::mp4_tags;

/// Which part of a track's decoded sound is to be heard, from an MP4 edit list (ISO/IEC 14496-12, 8.6.6).
/// AAC encoders put about 1024 to 2112 samples of their own before the music and fill the last packet up; the
/// edit list says how many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Edit {
    /// Seconds of decoded sound to leave out.
    pub(crate) start: f64,
    /// Seconds to keep, where the list says so.
    pub(crate) duration: Option<f64>,
}

/// The statements about a track's trims.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Edits {
    /// The edit list of the track.
    pub(crate) edit: Option<Edit>,
    /// The encoder delay in samples, from iTunes' tag. An edit list takes precedence.
    pub(crate) delay: Option<u64>,
}

/// Boxes whose children may hold an edit list or a tag.
const CONTAINERS: [[u8; 4]; 7] = [*b"moov", *b"trak", *b"edts", *b"mdia", *b"udta", *b"meta", *b"ilst"];

/// Reads the edits of the track with this id. An edit list that does more than trim the ends (several segments, which
/// music files do not have) is ignored.
pub(crate) fn read(file: &mut (impl Read + Seek), track_id: u32) -> std::io::Result<Edits> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut found = Found { track_id, ..Found::default() };
    found.boxes(file, 0, end, 0)?;
    Ok(Edits { edit: found.result, delay: found.delay })
}

#[derive(Default)]
struct Found {
    track_id: u32,
    movie_scale: Option<u32>,
    /// Of the track that is being read.
    current: Track,
    result: Option<Edit>,
    delay: Option<u64>,
}

#[derive(Default)]
struct Track {
    id: Option<u32>,
    /// Duration in the movie's time scale, and start in the media's, of the only entry.
    entry: Option<(u64, u64)>,
    media_scale: Option<u32>,
}

impl Found {
    /// Reads the boxes from `position` to `end`.
    fn boxes(&mut self, file: &mut (impl Read + Seek), mut position: u64, end: u64, depth: u32) -> std::io::Result<()> {
        // Deeper than any box that matters here.
        const DEEPEST: u32 = 5;
        while position + 8 <= end && depth < DEEPEST {
            file.seek(SeekFrom::Start(position))?;
            let mut header = [0; 8];
            file.read_exact(&mut header)?;
            let (size, kind) = (u32_at(&header, 0), &header[4..8]);
            let (size, body) = match size {
                0 => (end - position, position + 8),
                1 => {
                    let mut large = [0; 8];
                    file.read_exact(&mut large)?;
                    (u64::from_be_bytes(large), position + 16)
                }
                size => (u64::from(size), position + 8),
            };
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

    /// Whether the first child of `meta` begins here.
    fn has_box(&self, file: &mut (impl Read + Seek), place: u64) -> std::io::Result<bool> {
        let mut header = Vec::with_capacity(8);
        file.seek(SeekFrom::Start(place))?;
        file.take(8).read_to_end(&mut header)?;
        Ok(header.get(4..8).is_some_and(|kind| kind == b"hdlr"))
    }

    fn content(&mut self, kind: &[u8], content: &[u8]) {
        // A version and flags, then times of 32 bits in version 0 and of 64 bits in version 1.
        let wide = content.first() == Some(&1);
        let scale = |content: &[u8]| get(content, if wide { 20 } else { 12 });
        match kind {
            b"mvhd" => self.movie_scale = scale(content),
            b"mdhd" => self.current.media_scale = scale(content),
            b"----" => self.delay = self.delay.or_else(|| mp4_tags::delay(content)),
            b"tkhd" => self.current.id = get(content, if wide { 20 } else { 12 }),
            _ => {
                let narrow_at = |place| get(content, place).map(u64::from);
                let wide_at = |place| Some((narrow_at(place)? << 32) | narrow_at(place + 4)?);
                let entry = |index: usize| match wide {
                    true => wide_at(8 + 20 * index).zip(wide_at(16 + 20 * index)),
                    false => narrow_at(8 + 12 * index).zip(narrow_at(12 + 12 * index)),
                };
                // A start of −1 is a gap, in which nothing is heard. One before the sound delays it beside a picture.
                let heard = |entry: &(u64, u64)| entry.1 != if wide { u64::MAX } else { u64::from(u32::MAX) };
                self.current.entry = match (get(content, 4), entry(0)) {
                    (Some(1), first) => first.filter(heard),
                    (Some(2), Some(first)) if !heard(&first) => entry(1).filter(heard),
                    _ => None,
                };
            }
        }
    }

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

fn u32_at(bytes: &[u8; 8], place: usize) -> u32 {
    u32::from_be_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]])
}

/// Four bytes at `place` as a big-endian number, if they are there.
fn get(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(place..place + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}
