//! Sample descriptions of MP4 and QuickTime files (QTFF, sound sample descriptions) that symphonia ignores: the byte
//! order of PCM, without which big-endian samples decode to noise, and names of codecs that it does not know.

use std::io::{Read, Seek, SeekFrom};

/// The sample description of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Description {
    pub(super) track: u32,
    is_sound: bool,
    kind: [u8; 4],
    /// The `enda` box marks the samples as little-endian.
    is_little_endian: bool,
}

impl Description {
    /// Whether the samples are big-endian PCM that symphonia decodes as little-endian.
    pub(super) fn is_big_endian(&self) -> bool {
        [*b"in24", *b"in32", *b"fl32", *b"fl64"].contains(&self.kind) && !self.is_little_endian
    }

    /// The name of the codec, if it is not supported.
    fn codec(&self) -> Option<&'static str> {
        Some(match &self.kind {
            b"alac" => "ALAC in a QuickTime description",
            b"ulaw" => "µ-law in a QuickTime description",
            b"alaw" => "A-law in a QuickTime description",
            b"raw " | b"twos" | b"sowt" => "PCM of 8 bits",
            b"ima4" => "IMA4 ADPCM",
            b"ac-3" | b"sac3" => "Dolby Digital (AC-3)",
            b"ec-3" => "Dolby Digital Plus (E-AC-3)",
            b"ac-4" => "Dolby AC-4",
            b"mlpa" => "Dolby TrueHD",
            b"dtsc" | b"dtsh" | b"dtsl" | b"dtse" => "DTS",
            b"samr" | b"sawb" => "AMR",
            b"QDM2" | b"QDMC" => "QDesign Music",
            b"MAC3" | b"MAC6" => "MACE",
            b"agsm" | b"ms\x001" => "GSM 6.10",
            b"drms" | b"enca" => "encrypted audio (DRM)",
            b"mha1" | b"mhm1" => "MPEG-H",
            _ => return None,
        })
    }
}

/// The name of the first sound track's codec, if it is not supported.
pub(super) fn codec(file: &mut (impl Read + Seek)) -> std::io::Result<Option<&'static str>> {
    Ok(read(file)?.iter().find(|track| track.is_sound).and_then(Description::codec))
}

/// Reads the sample descriptions of all tracks.
pub(super) fn read(file: &mut (impl Read + Seek)) -> std::io::Result<Vec<Description>> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut found = Vec::new();
    boxes(file, 0, end, 0, &mut found)?;
    Ok(found)
}

/// Parses the boxes from `position` to `end`.
fn boxes(
    file: &mut (impl Read + Seek),
    mut position: u64,
    end: u64,
    depth: u32,
    found: &mut Vec<Description>,
) -> std::io::Result<()> {
    const DEEPEST: u32 = 6;
    const MOST_TRACKS: usize = 100;
    while position + 8 <= end && depth < DEEPEST && found.len() < MOST_TRACKS {
        let mut header = Vec::with_capacity(16);
        file.seek(SeekFrom::Start(position))?;
        file.take(16).read_to_end(&mut header)?;
        let (Some(size), Some(kind)) = (header.first_chunk().map(|size| u32::from_be_bytes(*size)), header.get(4..8))
        else {
            break;
        };
        let (size, body) = match (size, header.last_chunk()) {
            (0, _) => (end - position, 8),
            (1, Some(size)) if header.len() == 16 => (u64::from_be_bytes(*size), 16),
            (size, _) => (u64::from(size), 8),
        };
        let Some(next) = position.checked_add(size).filter(|&next| size >= body && next <= end) else { break };
        let body = position + body;
        match kind {
            b"moov" | b"mdia" | b"minf" | b"stbl" => boxes(file, body, next, depth + 1, found)?,
            b"trak" => {
                found.push(Description::default());
                boxes(file, body, next, depth + 1, found)?;
            }
            b"tkhd" | b"smhd" | b"stsd" => {
                // The first description of a sample table is enough.
                let mut content = Vec::with_capacity(512);
                file.seek(SeekFrom::Start(body))?;
                file.take((next - body).min(512)).read_to_end(&mut content)?;
                if let Some(track) = found.last_mut() {
                    track.take(kind, &content);
                }
            }
            _ => {}
        }
        position = next;
    }
    Ok(())
}

impl Description {
    fn take(&mut self, kind: &[u8], content: &[u8]) {
        let chunk = |place: usize| content.get(place..)?.first_chunk::<4>();
        match kind {
            b"tkhd" => {
                let place = if content.first() == Some(&1) { 20 } else { 12 };
                self.track = chunk(place).map_or(0, |id| u32::from_be_bytes(*id));
            }
            b"smhd" => self.is_sound = true,
            _ => {
                // Version and flags, an entry count, then the first entry's size and type.
                self.kind = chunk(12).copied().unwrap_or_default();
                let mark = content.windows(8).position(|bytes| bytes == b"\0\0\0\x0aenda");
                let endian = mark.and_then(|mark| content.get(mark + 8..mark + 10));
                self.is_little_endian = endian == Some(b"\0\x01");
            }
        }
    }
}
