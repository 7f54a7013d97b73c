//! The reason why nothing can be decoded of a file that ends too early: a structure at its end is missing, or one at its
//! start is not whole.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::matroska;
use super::quirks::ogg_pages::{self, Pages};

/// Whether `file` is Matroska or WebM.
pub(super) fn is_matroska(file: &mut File) -> std::io::Result<bool> {
    let mut mark = Vec::with_capacity(4);
    file.rewind()?;
    file.take(4).read_to_end(&mut mark)?;
    Ok(mark == b"\x1aE\xdf\xa3")
}

/// What `file`, of which no header can be read, lacks at its end; `None` if nothing shows that it was cut off.
pub(super) fn reason(file: &mut File) -> std::io::Result<Option<String>> {
    /// More than the first page of Ogg has.
    const OGG_PAGE: u64 = 100;
    let length = file.seek(SeekFrom::End(0))?;
    if is_matroska(file)? {
        file.rewind()?;
        let is_cut = matroska::read(&mut *file, length, 0)?.cut_off;
        return Ok(is_cut.then(|| "it ends before the first sound".to_string()));
    }
    let mut mark = Vec::with_capacity(8);
    file.rewind()?;
    (&mut *file).take(8).read_to_end(&mut mark)?;
    if mark.starts_with(b"OggS") && length > OGG_PAGE {
        file.rewind()?;
        let pages = ogg_pages::check(&mut BufReader::new(&mut *file))?.pages;
        return Ok((pages == Pages::CutOff).then(|| "it ends before the first sound".to_string()));
    }
    mp4(file, length)
}

/// As [`reason`], for MP4 and QuickTime.
fn mp4(file: &mut File, length: u64) -> std::io::Result<Option<String>> {
    /// Music files have a handful of boxes.
    const MOST: u32 = 1000;
    const FIRST: [&[u8; 4]; 6] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"];
    let mut place = 0u64;
    let mut has_samples = false;
    for number in 0..MOST {
        let mut header = Vec::with_capacity(16);
        file.seek(SeekFrom::Start(place))?;
        (&mut *file).take(16).read_to_end(&mut header)?;
        let (Some(size), Some(kind)) = (header.first_chunk().map(|size| u32::from_be_bytes(*size)), header.get(4..8))
        else {
            break;
        };
        if number == 0 && !FIRST.iter().any(|first| kind == *first) {
            return Ok(None);
        }
        has_samples |= kind == b"mdat";
        let size = match (size, header.last_chunk()) {
            (1, Some(size)) if header.len() == 16 => u64::from_be_bytes(*size),
            // To the end of the file.
            (0, _) => length - place,
            (size, _) => u64::from(size),
        };
        let Some(next) = place.checked_add(size).filter(|_| size >= 8) else { return Ok(None) };
        if kind == b"moov" {
            return Ok((next > length).then(|| "it ends within its table of samples (`moov`)".to_string()));
        }
        if next > length {
            let missing = next - length;
            return Ok(Some(format!(
                "the box `{}` ends {missing} bytes behind the end of the file, and the table of samples (`moov`) is missing",
                kind.escape_ascii()
            )));
        }
        place = next;
    }
    Ok(has_samples.then(|| "it has samples, but no table of them (`moov`)".to_string()))
}
