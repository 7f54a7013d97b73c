//! The journal of a run: finished files on disk, from which an interrupted run continues and the output is written.

mod record;

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mert_table::Provenance;

pub(crate) use self::record::WindowRecord;
use self::record::{Contents, FinishedRecord, Kind, RECORD_HEADER, WINDOW_HEADER};
use crate::inputs::Input;
use crate::{EmbedError, Embedding};

/// The files that have been embedded so far, with their vectors, on disk.
///
/// Vectors of finished files survive the end of the process at any moment. A record that a crash cut off fails its
/// checksum and is removed, with what follows it, when the journal is opened again.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    end: u64,
    finished: HashMap<Input, Vec<WindowRecord>>,
    last_id: u32,
}

impl Journal {
    /// The path of the journal of `output`.
    pub fn path_for(output: &Path) -> PathBuf {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(".journal");
        output.with_file_name(name)
    }

    /// Opens the journal of `output`, or creates one. With `restart` its content is discarded.
    ///
    /// # Errors
    /// [`EmbedError::OtherSettings`] if it belongs to other settings, [`EmbedError::NotAJournal`] for another file,
    /// [`EmbedError::Locked`] if another program writes to it, [`EmbedError::Write`].
    pub fn open(output: &Path, provenance: &Provenance, restart: bool) -> Result<Self, EmbedError> {
        let path = Journal::path_for(output);
        let failed = |source| EmbedError::write(&path, source);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(EmbedError::Locked { path }),
            // Some network filesystems have no locks. A second run for the same output is then not noticed.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if restart {
            file.set_len(0).map_err(failed)?;
        }
        let length = file.metadata().map_err(failed)?.len();
        let Contents { settings, finished, last_id, end } =
            Contents::parse(BufReader::new(&file), length).map_err(failed)?;
        match &settings {
            None if length > 0 => return Err(EmbedError::NotAJournal { path }),
            Some(earlier) => {
                if let Some(difference) = provenance.difference(earlier) {
                    return Err(EmbedError::OtherSettings { path, difference });
                }
            }
            None => {}
        }
        // A record that a crash cut off would hide those that follow.
        file.set_len(end).map_err(failed)?;
        let mut file = BufWriter::new(file);
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        let mut journal = Journal { path, file, end, finished, last_id };
        if settings.is_none() {
            let provenance = serde_json::to_vec(provenance).map_err(|error| journal.failed(error.into()))?;
            journal.append(Kind::Settings, &[&provenance])?;
            journal.sync()?;
        }
        Ok(journal)
    }

    /// Whether the journal holds no finished file.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Removes the journal if it holds no finished file.
    ///
    /// # Errors
    /// [`EmbedError::Write`].
    pub fn remove_if_empty(self) -> Result<(), EmbedError> {
        if self.is_empty() { self.remove() } else { Ok(()) }
    }

    /// Whether `input` was finished, and has not changed since.
    pub fn has(&self, input: &Input) -> bool {
        input.version.is_some() && self.finished.contains_key(input)
    }

    /// Starts a file, to which windows are added until it is finished.
    pub(crate) fn start_file(&mut self) -> OpenFile {
        self.last_id = self.last_id.wrapping_add(1);
        OpenFile { id: self.last_id, windows: Vec::new() }
    }

    /// Adds the vectors of one window of a file: the window's number, first sample and length in samples.
    pub(crate) fn add(
        &mut self,
        file: &mut OpenFile,
        (window, start, samples): (u32, u64, u64),
        embedding: &Embedding,
    ) -> Result<(), EmbedError> {
        let offset = self.end + RECORD_HEADER + WINDOW_HEADER as u64;
        let record = WindowRecord { window, start, samples, rows: embedding.rows as u32, offset };
        self.append(Kind::Window, &[&record.header(file.id), bytemuck::cast_slice(&embedding.values)])?;
        file.windows.push(record);
        Ok(())
    }

    /// Marks a file as finished: an interruption no longer loses it. A file without a version is kept for this run
    /// only, because nothing tells whether it is the same in the next.
    pub(crate) fn finish(&mut self, input: &Input, file: OpenFile) -> Result<(), EmbedError> {
        if input.version.is_some() {
            let record = FinishedRecord { id: file.id, input: input.clone() };
            let record = serde_json::to_vec(&record).map_err(|error| self.failed(error.into()))?;
            self.append(Kind::Finished, &[&record])?;
            self.file.flush().map_err(|error| self.failed(error))?;
        }
        self.finished.insert(input.clone(), file.windows);
        Ok(())
    }

    /// The windows of a finished file, in order.
    pub(crate) fn windows(&self, input: &Input) -> &[WindowRecord] {
        self.finished.get(input).map_or(&[], |windows| windows)
    }

    /// Reads the vectors of a window.
    pub(crate) fn read(&mut self, window: &WindowRecord, values: &mut [f32]) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(window.offset))?;
        file.read_exact(bytemuck::cast_slice_mut(values))?;
        file.seek(SeekFrom::Start(self.end))?;
        Ok(())
    }

    /// Syncs the journal to the disk.
    ///
    /// # Errors
    /// [`EmbedError::Write`].
    pub fn sync(&mut self) -> Result<(), EmbedError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_data()).map_err(|error| self.failed(error))
    }

    /// Removes the journal, once its output is written.
    ///
    /// # Errors
    /// [`EmbedError::Write`].
    pub fn remove(self) -> Result<(), EmbedError> {
        std::fs::remove_file(&self.path).map_err(|error| self.failed(error))
    }

    fn append(&mut self, kind: Kind, parts: &[&[u8]]) -> Result<(), EmbedError> {
        self.end += record::write(&mut self.file, kind, parts).map_err(|error| self.failed(error))?;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> EmbedError {
        EmbedError::write(&self.path, source)
    }
}

/// A file to which windows are being added.
#[derive(Debug)]
pub(crate) struct OpenFile {
    id: u32,
    windows: Vec<WindowRecord>,
}

impl OpenFile {
    /// Whether no window was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}

/// Parses the bytes of a journal as [`Journal::open`] does, and returns the length of its valid part. For fuzz targets:
/// no bytes make it panic.
#[doc(hidden)]
pub fn parse_journal(bytes: &[u8]) -> u64 {
    Contents::parse(bytes, bytes.len() as u64).map_or(0, |contents| contents.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: &[u8] = br#"{"generator":"","model_sha256":"","license":null,"hidden_states":[6],"pool":"mean",
        "normalize":"none","window":"whole","tail":"align","damaged":"refuse","sample_rate":24000,"dim":2,
        "frame_hop":320,"frame_length":400,"arithmetic":"f32 on cpu"}"#;

    /// A journal with two windows of a finished file, and one of a file that is not.
    fn journal() -> Vec<u8> {
        let window = |id, window| WindowRecord { window, start: 7, samples: 9, rows: 1, offset: 0 }.header(id).to_vec();
        let mut bytes = Vec::new();
        let mut write = |kind, parts: &[&[u8]]| record::write(&mut bytes, kind, parts).unwrap();
        write(Kind::Settings, &[SETTINGS]);
        write(Kind::Window, &[&window(1, 0), &[0; 8]]);
        write(Kind::Window, &[&window(2, 0), &[0; 8]]);
        write(Kind::Window, &[&window(1, 1), &[0; 8]]);
        write(Kind::Finished, &[br#"{"id":1,"input":{"path":"a.wav","version":{"size":1,"modified":2}}}"#]);
        bytes
    }

    #[test]
    fn finished_files_are_found() {
        let bytes = journal();
        let contents = Contents::parse(&bytes[..], bytes.len() as u64).unwrap();
        assert_eq!((contents.end, contents.last_id, contents.finished.len()), (bytes.len() as u64, 2, 1));
        let windows = contents.finished.values().next().unwrap();
        assert_eq!(windows.iter().map(|window| window.window).collect::<Vec<_>>(), [0, 1]);
        assert!(windows.iter().all(|window| (window.start, window.samples, window.rows) == (7, 9, 1)));
        assert!(bytes[windows[0].offset as usize..][..8].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_window_with_fewer_values_than_it_says_ends_the_valid_part() {
        let mut bytes = journal();
        let valid = bytes.len() as u64;
        let header = WindowRecord { window: 0, start: 0, samples: 1, rows: u32::MAX, offset: 0 }.header(3);
        record::write(&mut bytes, Kind::Window, &[&header, &[0; 8]]).unwrap();
        assert_eq!(parse_journal(&bytes), valid);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(
            cut in 0usize..800,
            changes in prop::collection::vec((0usize..800, any::<u8>()), 0..4),
            tail in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = journal();
            bytes.truncate(cut);
            for (place, byte) in changes {
                if let Some(found) = bytes.get_mut(place) {
                    *found = byte;
                }
            }
            bytes.extend(tail);
            prop_assert!(parse_journal(&bytes) <= bytes.len() as u64);
        }
    }
}
