//! Which format a file has, decided by its first bytes alone: one table of signatures with the names that people use,
//! and whether the format is read. It is separate because it also says what is left out of a folder, without decoding.

mod frames;
mod table;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

pub use table::{READ_EXTENSIONS, UNREAD_EXTENSIONS};

/// How many bytes are looked at first. It is what a stream that cannot seek keeps for a second look: symphonia's buffer has
/// 64 KiB, of which it fills up to 32 ahead.
pub(crate) const HEAD: usize = 1 << 14;

/// How much junk may come before a stream of frames, in a file.
pub(crate) const LONG_HEAD: usize = 1 << 20;

/// A file format, by the name that people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The name, such as `Windows Media (ASF)`.
    pub name: &'static str,
    pub(crate) kind: Kind,
}

impl Format {
    /// Whether files of this format are decoded. A container that is may still hold a codec that is not.
    pub fn is_read(&self) -> bool {
        !matches!(self.kind, Kind::Unread | Kind::NotAudio)
    }

    /// Whether the format may hold audio at all: an HTML page, an archive or an image does not.
    pub fn is_audio(&self) -> bool {
        self.kind != Kind::NotAudio
    }
}

/// Who reads a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Wave,
    Aiff,
    Flac,
    Ogg,
    Mp4,
    Matroska,
    Caf,
    Au,
    /// MPEG audio, layers I to III.
    Mpeg,
    Adts,
    /// Audio that is not read.
    Unread,
    /// No audio.
    NotAudio,
}

/// The format of the file at `path`, from its first bytes behind ID3v2 tags; `None` if they are not known.
///
/// # Errors
/// The operating system's, if the file cannot be read.
pub fn identify(path: &Path) -> std::io::Result<Option<&'static Format>> {
    let mut file = File::open(path)?;
    let start = behind_tags(&mut file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut head = Vec::new();
    (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
    if may_be_junk(recognise(&head)) {
        file.take((LONG_HEAD - HEAD) as u64).read_to_end(&mut head)?;
    }
    Ok(recognise(&head))
}

/// Whether frames may come behind what was looked at.
pub(crate) fn may_be_junk(format: Option<&'static Format>) -> bool {
    format.is_none_or(|format| *format == table::ZEROS.format)
}

/// Where a file begins behind its ID3v2 tags.
fn behind_tags(file: &mut (impl Read + Seek)) -> std::io::Result<u64> {
    let mut start = 0;
    loop {
        let mut header = Vec::with_capacity(10);
        file.seek(SeekFrom::Start(start))?;
        file.take(10).read_to_end(&mut header)?;
        match id3v2_length(&header) {
            Some(length) => start += length,
            None => return Ok(start),
        }
    }
}

/// The length of the ID3v2 tag at the start of `bytes`, with its header and footer (ID3v2.4, 3.1).
pub(crate) fn id3v2_length(bytes: &[u8]) -> Option<u64> {
    let header: &[u8; 10] = bytes.first_chunk()?;
    let size = &header[6..];
    if !header.starts_with(b"ID3") || size.iter().any(|byte| byte >> 7 == 1) {
        return None;
    }
    let size = size.iter().fold(0, |size, &byte| (size << 7) | u64::from(byte));
    Some(10 + size + if header[5] & 0x10 == 0 { 0 } else { 10 })
}

/// The format of a file that begins with `head`, behind its ID3v2 tags.
pub(crate) fn recognise(head: &[u8]) -> Option<&'static Format> {
    let fits = |signature: &&table::Signature| signature.fits(head);
    let known = || table::SIGNATURES.iter().find(fits).map(|signature| &signature.format);
    // Frames have no signature but their header, and may come behind junk: what has another signature is none.
    let frames = || frames::find(head).map(table::of_frames);
    known().or_else(frames).or_else(|| Some(table::ZEROS).filter(fits).map(|signature| &signature.format))
}

/// What a file begins with, for people: as text where it is text.
pub(crate) fn describe(head: &[u8]) -> String {
    const SHOWN: usize = 16;
    let head = &head[..head.len().min(SHOWN)];
    let hex: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
    match std::str::from_utf8(head) {
        Ok(text) if !text.chars().any(char::is_control) => format!("`{text}`"),
        _ => hex.join(" "),
    }
}
