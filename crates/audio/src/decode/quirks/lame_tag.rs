//! The tag in the first frame of an MP3 file, of which symphonia 0.6.1 ignores the delay and padding if its checksum is
//! wrong. Programs that change the gain of a file leave the checksum as it was, and neither FFmpeg, mpg123 nor libsndfile
//! look at it.

/// A tag of Xing's kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// How many frames the file has, without this one.
    pub(super) frames: Option<u64>,
    /// Where the tag's checksum is in the frame.
    pub(super) checksum_at: Option<usize>,
}

/// The tag at `at` in a frame, where there is one.
pub(super) fn read(frame: &[u8], at: usize) -> Option<Tag> {
    let tag = frame.get(at..)?;
    let number = |place: usize| tag.get(place..place + 4).map(|x| u32::from_be_bytes([x[0], x[1], x[2], x[3]]));
    if tag.starts_with(b"VBRI") || frame.get(36..40).is_some_and(|mark| mark == b"VBRI") {
        return Some(Tag { frames: None, checksum_at: None });
    }
    // The side information of the frame is zero, behind a checksum.
    let is_tag = (tag.starts_with(b"Xing") || tag.starts_with(b"Info")) && frame.get(6..at)?.iter().all(|&x| x == 0);
    let flags = is_tag.then(|| number(4)).flatten()?;
    let frames = (flags & 1 != 0).then(|| number(8)).flatten().map(u64::from);
    // Frames, bytes, a table of contents and a quality, each where its flag is set; then LAME's part.
    let lame = 8 + [4, 4, 100, 4]
        .iter()
        .enumerate()
        .map(|(bit, size)| if flags >> bit & 1 == 1 { *size } else { 0 })
        .sum::<usize>();
    let checksum_at = (tag.len() >= lame + 36).then_some(at + lame + 34);
    Some(Tag { frames, checksum_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_behind_the_fields_that_there_are() {
        for (flags, fields) in [(15, 112), (0, 0), (1, 4), (5, 104), (8, 4)] {
            let mut frame = vec![0; 36];
            frame.extend(b"Info");
            frame.extend((flags as u32).to_be_bytes());
            frame.extend(77u32.to_be_bytes());
            frame.resize(36 + 8 + fields + 36, 0);
            let frames = (flags & 1 == 1).then_some(77);
            assert_eq!(read(&frame, 36), Some(Tag { frames, checksum_at: Some(36 + 8 + fields + 34) }), "{flags}");
            frame.pop();
            assert_eq!(read(&frame, 36).unwrap().checksum_at, None);
            frame[20] = 1;
            assert_eq!(read(&frame, 36), None, "sound");
        }
    }
}
