//! The LAME tag in the first frame of an MP3 file. symphonia-bundle-mp3 0.6.1
//! [ignores](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-bundle-mp3/src/demuxer.rs#L897-L916) its
//! delay and padding if its checksum is wrong. Gain tools do not update the checksum, and FFmpeg, mpg123 and libsndfile
//! do not check it.

/// A Xing or Info tag.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::decode::quirks) struct Tag {
    /// The stated number of frames in the file, without the tag's own.
    pub(in crate::decode::quirks) frames: Option<u64>,
    /// The offset in the frame of the tag's checksum, if there is one.
    pub(in crate::decode::quirks) checksum_at: Option<usize>,
}

/// Parses the tag at offset `at` of a frame.
pub(super) fn read(frame: &[u8], at: usize) -> Option<Tag> {
    let tag = frame.get(at..)?;
    let number = |offset: usize| tag.get(offset..offset + 4).map(|x| u32::from_be_bytes([x[0], x[1], x[2], x[3]]));
    if tag.starts_with(b"VBRI") || frame.get(36..40).is_some_and(|mark| mark == b"VBRI") {
        return Some(Tag { frames: None, checksum_at: None });
    }
    // The side information, after an optional checksum, is all zeros.
    let is_tag = (tag.starts_with(b"Xing") || tag.starts_with(b"Info")) && frame.get(6..at)?.iter().all(|&x| x == 0);
    let flags = is_tag.then(|| number(4)).flatten()?;
    let frames = (flags & 1 != 0).then(|| number(8)).flatten().map(u64::from);
    // Optional fields by flag: frame count, byte count, table of contents, quality; then the LAME extension.
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
    fn the_checksum_follows_the_optional_fields() {
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
