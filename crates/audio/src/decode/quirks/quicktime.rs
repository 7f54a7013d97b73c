//! Sample descriptions of MP4 and QuickTime files (QTFF, sound sample descriptions). symphonia-format-isomp4 0.6.1
//! ignores the `enda` box and decodes [PCM of 24 and 32
//! bits](https://github.com/pdeljanov/Symphonia/blob/v0.6.1/symphonia-format-isomp4/src/atoms/mod.rs#L303-L314) as
//! little-endian, which turns big-endian samples into noise; and it reports no name for codecs that it does not know.

use std::io::{Read, Seek, SeekFrom};

use crate::decode::mp4_box::BoxHeader;

/// The sample description of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::decode) struct Description {
    /// The id of the track.
    pub(in crate::decode) track: u32,
    is_sound: bool,
    kind: [u8; 4],
    /// Whether the `enda` box marks the samples as little-endian.
    is_little_endian: bool,
}

impl Description {
    /// Whether the samples are big-endian PCM that symphonia decodes as little-endian.
    pub(in crate::decode) fn is_big_endian(&self) -> bool {
        [*b"in24", *b"in32", *b"fl32", *b"fl64"].contains(&self.kind) && !self.is_little_endian
    }

    /// The common name of the codec, if it is not supported.
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

/// The name of the codec of the first audio track, if it is not supported.
pub(in crate::decode) fn codec(file: &mut (impl Read + Seek)) -> std::io::Result<Option<&'static str>> {
    Ok(read(file)?.iter().find(|track| track.is_sound).and_then(Description::codec))
}

/// Reads the sample descriptions of all tracks.
pub(in crate::decode) fn read(file: &mut (impl Read + Seek)) -> std::io::Result<Vec<Description>> {
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
    /// The depth of the deepest box that matters here.
    const DEEPEST: u32 = 6;
    const MAX_TRACKS: usize = 100;
    while position + 8 <= end && depth < DEEPEST && found.len() < MAX_TRACKS {
        let Some(header) = BoxHeader::read(file, position)? else { break };
        let size = header.size.unwrap_or(end - position);
        let next = position.checked_add(size).filter(|&next| size >= header.length && next <= end);
        let Some(next) = next else { break };
        let body = position + header.length;
        let kind = &header.kind;
        match kind {
            b"moov" | b"mdia" | b"minf" | b"stbl" => boxes(file, body, next, depth + 1, found)?,
            b"trak" => {
                found.push(Description::default());
                boxes(file, body, next, depth + 1, found)?;
            }
            b"tkhd" | b"smhd" | b"stsd" => {
                // Enough for the first description of a table.
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
    /// Takes the fields of a box that describes the track.
    fn take(&mut self, kind: &[u8], content: &[u8]) {
        let chunk = |offset: usize| content.get(offset..)?.first_chunk::<4>();
        match kind {
            b"tkhd" => {
                let offset = if content.first() == Some(&1) { 20 } else { 12 };
                self.track = chunk(offset).map_or(0, |id| u32::from_be_bytes(*id));
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
