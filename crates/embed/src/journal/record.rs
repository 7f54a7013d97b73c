//! The records of a journal: their bytes, and the parser that finds the finished files in them.
//!
//! A record is a length and a CRC-32 (both u32, little-endian), then a byte for its kind and its content. The first
//! holds the settings; then come windows in the order in which they are embedded, and a record for each file that is
//! finished. Vectors are stored in the byte order of the machine: a journal does not leave it.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use mert_table::Provenance;
use serde::{Deserialize, Serialize};

use crate::inputs::Input;

/// Bytes of a record before its content: length, checksum and kind.
pub(super) const RECORD_HEADER: u64 = 9;

/// Bytes of a window's record before its vectors.
pub(super) const WINDOW_HEADER: usize = 28;

/// The longest record. A window of ten minutes with all frames of 13 hidden states has 2 GB.
const MAX_LENGTH: u32 = u32::MAX - 64;

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The settings of the run, in JSON.
    Settings = b'S',
    /// A window with its vectors.
    Window = b'R',
    /// The end of a file, in JSON.
    Finished = b'F',
}

/// The vectors of a window in the journal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WindowRecord {
    /// The number of the window.
    pub(crate) window: u32,
    /// The window's first sample, at the model's rate.
    pub(crate) start: u64,
    /// The window's length in samples.
    pub(crate) samples: u64,
    /// Vectors for each hidden state.
    pub(crate) rows: u32,
    /// Offset of the values in the journal.
    pub(super) offset: u64,
}

impl WindowRecord {
    /// The bytes before the window's vectors, in the record of a file with the number `id`.
    pub(super) fn header(&self, id: u32) -> [u8; WINDOW_HEADER] {
        let mut header = [0; WINDOW_HEADER];
        header[..4].copy_from_slice(&id.to_le_bytes());
        header[4..8].copy_from_slice(&self.window.to_le_bytes());
        header[8..16].copy_from_slice(&self.start.to_le_bytes());
        header[16..24].copy_from_slice(&self.samples.to_le_bytes());
        header[24..].copy_from_slice(&self.rows.to_le_bytes());
        header
    }

    /// The file's number and the window in a record that starts at `position`, if its length is that of vectors of
    /// `width` values for each row.
    fn parse(body: &[u8], position: u64, width: usize) -> Option<(u32, Self)> {
        let (header, values) = body.split_first_chunk::<WINDOW_HEADER>()?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
        let rows = number(24);
        if (rows as usize).checked_mul(width)?.checked_mul(4)? != values.len() {
            return None;
        }
        let offset = position + RECORD_HEADER + WINDOW_HEADER as u64;
        Some((number(0), WindowRecord { window: number(4), start: long(8), samples: long(16), rows, offset }))
    }
}

/// The content of the record of a finished file.
#[derive(Serialize, Deserialize)]
pub(super) struct FinishedRecord {
    /// The number of the file, which its windows have in their records.
    pub(super) id: u32,
    pub(super) input: Input,
}

/// Writes a record whose content is `parts`, and returns its length in bytes.
pub(super) fn write(out: &mut impl Write, kind: Kind, parts: &[&[u8]]) -> io::Result<u64> {
    let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).ok().filter(|&length| length <= MAX_LENGTH);
    let length = length.ok_or_else(|| io::Error::other("a window has too many frames: use shorter windows"))?;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&[kind as u8]);
    parts.iter().for_each(|part| checksum.update(part));
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&checksum.finalize().to_le_bytes())?;
    out.write_all(&[kind as u8])?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    Ok(8 + u64::from(length))
}

/// The content of a journal.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// `None` if the first record does not hold settings.
    pub(super) settings: Option<Provenance>,
    /// The windows of each finished file.
    pub(super) finished: HashMap<Input, Vec<WindowRecord>>,
    /// The largest number of a file.
    pub(super) last_id: u32,
    /// Offset of the end of the last valid record. What follows was cut off by a crash.
    pub(super) end: u64,
}

impl Contents {
    /// Parses `length` bytes of `reader`, up to the first invalid record.
    ///
    /// # Errors
    /// Those of `reader`. Invalid bytes are not an error: they are behind `end`.
    pub(super) fn parse(mut reader: impl Read, length: u64) -> io::Result<Self> {
        let mut contents = Contents::default();
        let mut open: HashMap<u32, Vec<WindowRecord>> = HashMap::new();
        let mut content = Vec::new();
        while contents.end + RECORD_HEADER <= length {
            let mut header = [0; 8];
            reader.read_exact(&mut header)?;
            let [size, checksum] = [[0, 1, 2, 3], [4, 5, 6, 7]].map(|at| u32::from_le_bytes(at.map(|at| header[at])));
            let next = contents.end + 8 + u64::from(size);
            if next > length || size == 0 {
                break;
            }
            content.resize(size as usize, 0);
            reader.read_exact(&mut content)?;
            if crc32fast::hash(&content) != checksum || contents.add(&mut open, &content).is_none() {
                break;
            }
            contents.end = next;
        }
        Ok(contents)
    }

    /// Adds the record at `end`; `None` for an invalid one. `open` holds the windows of files that are not finished.
    fn add(&mut self, open: &mut HashMap<u32, Vec<WindowRecord>>, content: &[u8]) -> Option<()> {
        let (&kind, body) = content.split_first()?;
        if kind == Kind::Settings as u8 && self.end == 0 {
            self.settings = serde_json::from_slice(body).ok();
            return self.settings.as_ref().map(|_| ());
        }
        let width = self.settings.as_ref()?.values_per_row();
        if kind == Kind::Window as u8 {
            let (id, window) = WindowRecord::parse(body, self.end, width)?;
            self.last_id = self.last_id.max(id);
            open.entry(id).or_default().push(window);
        } else if kind == Kind::Finished as u8 {
            let FinishedRecord { id, input } = serde_json::from_slice(body).ok()?;
            self.finished.insert(input, open.remove(&id).unwrap_or_default());
        } else {
            return None;
        }
        Some(())
    }
}
