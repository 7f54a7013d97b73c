//! The format of a file, identified by its first bytes: a table of signatures with common format names, and whether
//! each format is supported. Separate from decoding because folder scans use it to report unsupported files.
//!
//! `table.rs` holds the signatures and extensions, `frames.rs` detects streams that have no header.

mod frames;
mod table;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

pub use table::SUPPORTED_EXTENSIONS;
use table::UNSUPPORTED_EXTENSIONS;

use crate::id3v2;

/// The number of bytes examined first. A stream that cannot seek keeps them for a second look: symphonia's buffer has
/// 64 KiB, of which it fills up to 32 ahead.
pub(crate) const HEAD: usize = 1 << 14;

/// The largest amount of junk in bytes that may precede a stream of frames.
pub(crate) const LONG_HEAD: usize = 1 << 20;

/// A file format, by its common name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The common name, such as `Windows Media (ASF)`.
    pub name: &'static str,
    pub(crate) kind: Kind,
}

impl Format {
    /// Whether files of this format can be decoded. A supported container may still hold an unsupported codec.
    pub fn is_supported(&self) -> bool {
        !matches!(self.kind, Kind::Unsupported | Kind::NotAudio)
    }

    /// Whether the format can hold audio, unlike an HTML page, an archive or an image.
    pub fn is_audio(&self) -> bool {
        self.kind != Kind::NotAudio
    }
}

/// The reader that a format needs.
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
    /// Audio without a reader.
    Unsupported,
    /// A file that is not audio.
    NotAudio,
}

/// The format of the file at `path`, from its first bytes after ID3v2 tags; `None` if it is unknown.
///
/// # Errors
/// The operating system's error, if the file cannot be read.
pub fn identify(path: &Path) -> std::io::Result<Option<&'static Format>> {
    let (mut file, mut head) = open(path)?;
    if !has_audio_extension(path) {
        let is_whole = head.len() < HEAD;
        let format = recognise_strictly(&head, is_whole);
        if format != Some(&table::ZEROS.format) {
            return Ok(format);
        }
        (&mut file).take((LONG_HEAD - HEAD) as u64).read_to_end(&mut head)?;
        let is_whole = head.len() < LONG_HEAD;
        return Ok(recognise_strictly(&head, is_whole));
    }
    if may_be_junk(recognise(&head)) {
        file.take((LONG_HEAD - HEAD) as u64).read_to_end(&mut head)?;
    }
    Ok(recognise(&head))
}

/// The first bytes of the file at `path` after its ID3v2 tags.
pub(crate) fn head(path: &Path) -> std::io::Result<Vec<u8>> {
    Ok(open(path)?.1)
}

fn open(path: &Path) -> std::io::Result<(File, Vec<u8>)> {
    let mut file = File::open(path)?;
    let start = after_tags(&mut file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut head = Vec::new();
    (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
    Ok((file, head))
}

/// Whether the extension of `path` is that of an audio format, supported or not. In other files, only a long run of
/// frames from the first byte on counts as a stream: programs and libraries contain short ones by chance.
pub fn has_audio_extension(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let is_known =
        |extension: &str| [SUPPORTED_EXTENSIONS, UNSUPPORTED_EXTENSIONS].iter().any(|known| known.contains(&extension));
    extension.as_deref().is_some_and(is_known)
}

/// Whether frames may follow after the bytes examined.
pub(crate) fn may_be_junk(format: Option<&'static Format>) -> bool {
    format.is_none_or(|format| *format == table::ZEROS.format)
}

/// The offset of the first byte after ID3v2 tags.
fn after_tags(file: &mut (impl Read + Seek)) -> std::io::Result<u64> {
    let mut start = 0;
    loop {
        let mut header = Vec::with_capacity(id3v2::HEADER);
        file.seek(SeekFrom::Start(start))?;
        file.take(id3v2::HEADER as u64).read_to_end(&mut header)?;
        match id3v2::length(&header) {
            Some(length) => start += length,
            None => return Ok(start),
        }
    }
}

/// The format of a file that begins with `head` and does not have the extension of an audio format.
fn recognise_strictly(head: &[u8], is_whole: bool) -> Option<&'static Format> {
    by_table(head, || frames::starts(head, is_whole))
}

/// The format of a file that begins with `head`, after its ID3v2 tags.
pub(crate) fn recognise(head: &[u8]) -> Option<&'static Format> {
    by_table(head, || frames::find(head))
}

/// The format of `head` by the table, or else by the frames that `frames` finds.
fn by_table(head: &[u8], frames: impl Fn() -> Option<frames::Stream>) -> Option<&'static Format> {
    let fits = |signature: &&table::Signature| signature.fits(head);
    let known = || table::SIGNATURES.iter().find(fits).map(|signature| &signature.format);
    // Frames have no signature beyond their header and may follow junk, so other signatures take precedence.
    let frames = || frames().map(table::of_frames);
    known().or_else(frames).or_else(|| Some(table::ZEROS).filter(fits).map(|signature| &signature.format))
}

/// The first bytes of a file for messages: as text if they are printable, otherwise in hexadecimal.
pub(crate) fn describe(head: &[u8]) -> String {
    const LENGTH: usize = 16;
    let head = &head[..head.len().min(LENGTH)];
    let hex: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
    match std::str::from_utf8(head) {
        Ok(text) if !text.chars().any(char::is_control) => format!("`{text}`"),
        _ => hex.join(" "),
    }
}
