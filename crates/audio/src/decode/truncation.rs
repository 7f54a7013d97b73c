//! The part that a truncated file lacks, if its header cannot be read: a structure at its end, or one at its start that
//! is incomplete. Readers report only an unexpected end.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::mp4_box::{BoxHeader, MAX_BOXES};
use super::quirks::matroska;
use super::quirks::ogg_pages::{self, Pages};

/// The part that `file` lacks, as a clause for a message; `None` if nothing shows that the file is truncated.
pub(super) fn missing_part(file: &mut File) -> std::io::Result<Option<String>> {
    /// More bytes than the first page of Ogg has.
    const OGG_PAGE: u64 = 100;
    let length = file.seek(SeekFrom::End(0))?;
    if matroska::is_matroska(file)? {
        file.rewind()?;
        let is_truncated = matroska::read_trims(&mut *file, length, 0)?.is_truncated;
        return Ok(is_truncated.then(|| NO_AUDIO.to_string()));
    }
    let mut mark = Vec::with_capacity(8);
    file.rewind()?;
    (&mut *file).take(8).read_to_end(&mut mark)?;
    if mark.starts_with(b"OggS") && length > OGG_PAGE {
        file.rewind()?;
        let pages = ogg_pages::check(&mut BufReader::new(&mut *file))?.pages;
        return Ok((pages == Pages::Truncated).then(|| NO_AUDIO.to_string()));
    }
    missing_box(file, length)
}

const NO_AUDIO: &str = "it ends before the first audio data";

/// The part that an MP4 or QuickTime file of `length` bytes lacks, see [`missing_part`].
fn missing_box(file: &mut File, length: u64) -> std::io::Result<Option<String>> {
    /// The types with which a file may begin.
    const FIRST: [&[u8; 4]; 6] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"];
    let mut position = 0u64;
    let mut has_samples = false;
    for number in 0..MAX_BOXES {
        let Some(BoxHeader { kind, size, .. }) = BoxHeader::read(file, position)? else { break };
        if number == 0 && !FIRST.contains(&&kind) {
            return Ok(None);
        }
        has_samples |= &kind == b"mdat";
        let size = size.unwrap_or(length - position);
        let Some(next) = position.checked_add(size).filter(|_| size >= 8) else { return Ok(None) };
        if &kind == b"moov" {
            return Ok((next > length).then(|| "it ends within its sample table (`moov`)".to_string()));
        }
        if next > length {
            let (kind, missing) = (kind.escape_ascii(), next - length);
            return Ok(Some(format!(
                "the box `{kind}` ends {missing} bytes after the end of the file, and the sample table (`moov`) is missing"
            )));
        }
        position = next;
    }
    Ok(has_samples.then(|| "it has samples, but no sample table (`moov`)".to_string()))
}
