use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inputs::Input;
use crate::settings::Provenance;
use crate::{EmbedError, Embedding};

/// What has been embedded so far, on disk: an interrupted run goes on from it, and the output is made of it.
///
/// The file is a sequence of records, each a length and a CRC-32 (both u32, little-endian), then a byte for
/// its kind and its content. The first holds the settings; then come rows as they are made, and a record for
/// each file that is finished. A record that a crash cut off fails its checksum, and is cut away with what
/// follows.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: BufWriter<File>,
    end: u64,
    finished: HashMap<Input, Finished>,
    next_id: u32,
}

/// A file that was embedded.
#[derive(Debug, Clone, Default)]
struct Finished {
    rows: Vec<RowRecord>,
}

/// Where the vectors of a window are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RowRecord {
    /// The window's number.
    pub(crate) window: u32,
    /// Its first sample and how many it has, at the model's rate.
    pub(crate) start: u64,
    pub(crate) samples: u64,
    /// Vectors for each hidden state.
    pub(crate) rows: u32,
    /// Where the values start in the journal.
    position: u64,
}

#[derive(Serialize, Deserialize)]
struct FinishedRecord {
    id: u32,
    input: Input,
}

const SETTINGS: u8 = b'S';
const ROW: u8 = b'R';
const FINISHED: u8 = b'F';

/// Bytes of a record before its content, and of a row's content before its values.
const RECORD_HEADER: u64 = 9;
const ROW_HEADER: usize = 28;

/// Longer than any record: a window of ten minutes with all frames of 13 hidden states has 2 GB.
const LONGEST: u32 = u32::MAX - 64;

impl Journal {
    /// Where the journal of `output` is.
    pub fn path_for(output: &Path) -> PathBuf {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(".journal");
        output.with_file_name(name)
    }

    /// Opens the journal of `output`, or starts one. With `restart` what it holds is dropped.
    ///
    /// # Errors
    /// [`EmbedError::OtherRun`] if it belongs to other settings, [`EmbedError::NoJournal`] if it is none, [`EmbedError::Locked`] if another program
    /// writes to it, [`EmbedError::Write`].
    pub fn open(output: &Path, settings: &Provenance, restart: bool) -> Result<Self, EmbedError> {
        let path = Journal::path_for(output);
        let of = path.clone();
        let failed = EmbedError::write(&of);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(EmbedError::Locked { path }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if restart {
            file.set_len(0).map_err(&failed)?;
        }
        let mut found = Found::default();
        let end = found.read(&file).map_err(&failed)?;
        // A file of this name that somebody else made, or another version.
        if found.settings.is_none() && file.metadata().map_err(&failed)?.len() > 0 {
            return Err(EmbedError::NoJournal { path });
        }
        if let Some(then) = &found.settings
            && let Some(what) = settings.difference(then)
        {
            return Err(EmbedError::OtherRun { path, what });
        }
        // A record that a crash cut off would hide those that follow.
        file.set_len(end).map_err(&failed)?;
        let mut file = BufWriter::new(file);
        file.seek(SeekFrom::Start(end)).map_err(&failed)?;
        let mut journal = Journal { path, file, end, finished: found.finished, next_id: found.next_id };
        if found.settings.is_none() {
            let settings = serde_json::to_vec(settings).unwrap_or_default();
            journal.append(SETTINGS, &[&settings])?;
            journal.sync()?;
        }
        Ok(journal)
    }

    /// Whether it holds no finished file.
    pub fn is_empty(&self) -> bool {
        self.finished.is_empty()
    }

    /// Removes the journal if it holds nothing.
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

    /// A number for the rows of a file that is begun.
    pub(crate) fn begin(&mut self) -> Begun {
        self.next_id += 1;
        Begun { id: self.next_id, finished: Finished::default() }
    }

    /// Adds the vectors of one window of a file that was begun.
    pub(crate) fn add(
        &mut self,
        file: &mut Begun,
        (window, start, samples): (u32, u64, u64),
        embedding: &Embedding,
    ) -> Result<(), EmbedError> {
        let rows = embedding.rows as u32;
        let mut header = [0; ROW_HEADER];
        header[..4].copy_from_slice(&file.id.to_le_bytes());
        header[4..8].copy_from_slice(&window.to_le_bytes());
        header[8..16].copy_from_slice(&start.to_le_bytes());
        header[16..24].copy_from_slice(&samples.to_le_bytes());
        header[24..].copy_from_slice(&rows.to_le_bytes());
        let position = self.end + RECORD_HEADER + ROW_HEADER as u64;
        self.append(ROW, &[&header, bytemuck::cast_slice(&embedding.values)])?;
        file.finished.rows.push(RowRecord { window, start, samples, rows, position });
        Ok(())
    }

    /// Marks a file as finished: from here on an interruption does not lose it, unless there is no telling whether it
    /// will be the same in the next run.
    pub(crate) fn finish(&mut self, input: &Input, file: Begun) -> Result<(), EmbedError> {
        if input.version.is_some() {
            let record = FinishedRecord { id: file.id, input: input.clone() };
            let record = serde_json::to_vec(&record).map_err(io::Error::from).map_err(EmbedError::write(&self.path))?;
            self.append(FINISHED, &[&record])?;
            self.file.flush().map_err(EmbedError::write(&self.path))?;
        }
        self.finished.insert(input.clone(), file.finished);
        Ok(())
    }

    /// The windows of a finished file in order.
    pub(crate) fn rows(&self, input: &Input) -> &[RowRecord] {
        self.finished.get(input).map_or(&[], |finished| &finished.rows)
    }

    /// Reads the vectors of a window.
    pub(crate) fn read(&mut self, row: &RowRecord, values: &mut [f32]) -> io::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(row.position))?;
        file.read_exact(bytemuck::cast_slice_mut(values))?;
        // Values are stored as this machine has them; a journal does not travel.
        file.seek(SeekFrom::Start(self.end))?;
        Ok(())
    }

    /// Brings all to the disk.
    ///
    /// # Errors
    /// [`EmbedError::Write`].
    pub fn sync(&mut self) -> Result<(), EmbedError> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_data()).map_err(EmbedError::write(&self.path))
    }

    /// Removes the journal, once its output is written.
    ///
    /// # Errors
    /// [`EmbedError::Write`].
    pub fn remove(self) -> Result<(), EmbedError> {
        std::fs::remove_file(&self.path).map_err(EmbedError::write(&self.path))
    }

    fn append(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), EmbedError> {
        let failed = EmbedError::write(&self.path);
        let length = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let length = u32::try_from(length).ok().filter(|&length| length <= LONGEST);
        let length =
            length.ok_or_else(|| failed(io::Error::other("a window has more frames than fit; use shorter windows")))?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&[kind]);
        parts.iter().for_each(|part| checksum.update(part));
        let write = |file: &mut BufWriter<File>| {
            file.write_all(&length.to_le_bytes())?;
            file.write_all(&checksum.clone().finalize().to_le_bytes())?;
            file.write_all(&[kind])?;
            parts.iter().try_for_each(|part| file.write_all(part))
        };
        write(&mut self.file).map_err(failed)?;
        self.end += 8 + u64::from(length);
        Ok(())
    }
}

/// A file whose rows are being added.
#[derive(Debug)]
pub(crate) struct Begun {
    id: u32,
    finished: Finished,
}

impl Begun {
    /// Windows that were added.
    pub(crate) fn windows(&self) -> usize {
        self.finished.rows.len()
    }
}

/// What a journal holds.
#[derive(Default)]
struct Found {
    settings: Option<Provenance>,
    finished: HashMap<Input, Finished>,
    next_id: u32,
}

impl Found {
    /// Reads all whole records, and says where they end.
    fn read(&mut self, file: &File) -> io::Result<u64> {
        let length = file.metadata()?.len();
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0))?;
        let mut open: HashMap<u32, Finished> = HashMap::new();
        let (mut end, mut content) = (0, Vec::new());
        loop {
            let mut header = [0; 8];
            if end + RECORD_HEADER > length {
                return Ok(end);
            }
            reader.read_exact(&mut header)?;
            let [size, checksum] = bytemuck::pod_read_unaligned::<[[u8; 4]; 2]>(&header).map(u32::from_le_bytes);
            let next = end + 8 + u64::from(size);
            if next > length || size == 0 {
                return Ok(end);
            }
            content.resize(size as usize, 0);
            reader.read_exact(&mut content)?;
            if crc32fast::hash(&content) != checksum || !self.record(&mut open, end, &content) {
                return Ok(end);
            }
            end = next;
        }
    }

    /// Takes in one record that starts at `position`. False for one that makes no sense.
    fn record(&mut self, open: &mut HashMap<u32, Finished>, position: u64, content: &[u8]) -> bool {
        let body = &content[1..];
        match content[0] {
            SETTINGS if position == 0 => self.settings = serde_json::from_slice(body).ok(),
            ROW if body.len() >= ROW_HEADER => {
                let number = |at: usize| bytemuck::pod_read_unaligned::<u32>(&body[at..at + 4]);
                let long = |at: usize| bytemuck::pod_read_unaligned::<u64>(&body[at..at + 8]);
                let position = position + RECORD_HEADER + ROW_HEADER as u64;
                let row =
                    RowRecord { window: number(4), start: long(8), samples: long(16), rows: number(24), position };
                self.next_id = self.next_id.max(number(0));
                open.entry(number(0)).or_default().rows.push(row);
            }
            FINISHED => match serde_json::from_slice::<FinishedRecord>(body) {
                Ok(record) => {
                    self.finished.insert(record.input, open.remove(&record.id).unwrap_or_default());
                }
                Err(_) => return false,
            },
            _ => return false,
        }
        self.settings.is_some()
    }
}
