//! Adding new and changed files to an existing output.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::file_name::unescape;
use crate::inputs::{Input, identity};
use crate::journal::{Begun, Journal};
use crate::output::{self, Parts, StoredRow, StoredSettings, StoredTable};
use crate::settings::Provenance;
use crate::{EmbedError, Embedding};

/// Differences between an existing output and the files to embed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Files with the same size and time, whose rows are kept.
    pub unchanged: Vec<Input>,
    /// The number of files with another size or time, which are embedded again.
    pub changed: usize,
    /// The number of files that are not in the output.
    pub new: usize,
    /// Files that are in the output and no longer exist, or cannot be looked at. Their rows are kept.
    pub missing: Vec<Input>,
    /// Files of the output that are not among the inputs; their rows are kept.
    pub others: Vec<Input>,
}

impl Update {
    /// Compares `inputs` with the rows of `output`. An input that the output holds under another spelling of its path
    /// takes that spelling.
    ///
    /// # Errors
    /// [`EmbedError::Update`] if `output` cannot be read, or was written with settings other than `settings`.
    pub fn plan(output: &Path, settings: &Provenance, inputs: &mut [Input]) -> Result<Self, EmbedError> {
        let mut stored: Vec<Input> = Vec::new();
        read(output, settings, Parts::Places, &mut |row| {
            let path = unescape(row.file);
            if stored.last().is_none_or(|last| last.path != path) {
                stored.push(Input { path, version: row.version });
            }
            Ok(())
        })?;
        let places: HashMap<PathBuf, usize> =
            stored.iter().enumerate().map(|(place, input)| (identity(&input.path), place)).collect();
        let mut update = Update::default();
        let mut matched = HashSet::new();
        for input in inputs {
            let Some(&place) = places.get(&identity(&input.path)) else {
                update.new += 1;
                continue;
            };
            matched.insert(place);
            input.path.clone_from(&stored[place].path);
            if input.version.is_some() && *input == stored[place] {
                update.unchanged.push(input.clone());
            } else if input.version.is_none() && !input.is_stdin() {
                // A drive that is not mounted must not cost its rows.
                input.version = stored[place].version;
                update.missing.push(input.clone());
            } else {
                update.changed += 1;
            }
        }
        let others = stored.into_iter().enumerate().filter(|(place, _)| !matched.contains(place));
        update.others = others.map(|(_, input)| input).collect();
        Ok(update)
    }

    /// Whether every input is in the output, unchanged.
    pub fn is_up_to_date(&self) -> bool {
        self.new + self.changed == 0
    }

    /// Copies the kept rows from `output` into `journal`.
    ///
    /// # Errors
    /// [`EmbedError::Update`] if `output` cannot be read, [`EmbedError::Write`] if `journal` cannot be written.
    pub fn import(&self, output: &Path, settings: &Provenance, journal: &mut Journal) -> Result<(), EmbedError> {
        let wanted: HashMap<&Path, &Input> = self
            .unchanged
            .iter()
            .chain(&self.missing)
            .chain(&self.others)
            .filter(|input| !journal.has(input))
            .map(|input| (input.path.as_path(), input))
            .collect();
        let mut import = Import { journal, rate: f64::from(settings.sample_rate), current: None, failed: None };
        let mut seen: HashSet<PathBuf> = HashSet::new();
        let mut last = None;
        read(output, settings, Parts::Rows, &mut |row| {
            let path = unescape(row.file);
            if last.as_ref() != Some(&path) {
                import.finish_file()?;
                if !seen.insert(path.clone()) {
                    let reason = format!("the rows of {} are not together", row.file);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
                }
                import.begin_file(wanted.get(path.as_path()).copied());
                last = Some(path);
            }
            import.row(&row)
        })
        .and_then(|()| import.finish_file().map_err(|error| failed(output, &error)))
        .map_err(|error| import.failed.take().unwrap_or(error))
    }
}

/// The state of copying rows into a journal.
struct Import<'a> {
    journal: &'a mut Journal,
    rate: f64,
    current: Option<CurrentFile>,
    /// The error of writing the journal, which is not one of reading the output.
    failed: Option<EmbedError>,
}

struct CurrentFile {
    input: Input,
    rows: Option<Begun>,
    /// The current window: its index, first sample and length in samples.
    window: Option<(u32, u64, u64)>,
    frames: Embedding,
}

impl Import<'_> {
    fn begin_file(&mut self, wanted: Option<&Input>) {
        self.current = wanted.map(|input| CurrentFile {
            input: input.clone(),
            rows: Some(self.journal.begin()),
            window: None,
            frames: Embedding { rows: 0, values: Vec::new() },
        });
    }

    fn row(&mut self, row: &StoredRow<'_>) -> io::Result<()> {
        let Some(current) = &self.current else { return Ok(()) };
        // Frames of a window are identified by their numbers; without pooling the window's length is not used.
        if row.frame.unwrap_or(0) == 0 || current.window.is_none_or(|(window, ..)| window != row.window) {
            self.finish_window()?;
            let samples = |seconds: f64| (seconds * self.rate).round() as u64;
            let window = (row.window, samples(row.start), samples(row.end).saturating_sub(samples(row.start)));
            if let Some(current) = &mut self.current {
                current.window = Some(window);
            }
        }
        if let Some(current) = &mut self.current {
            current.frames.rows += 1;
            current.frames.values.extend_from_slice(row.values);
        }
        Ok(())
    }

    fn finish_window(&mut self) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let (Some(window), Some(rows)) = (current.window.take(), &mut current.rows) {
            let added = self.journal.add(rows, window, &current.frames);
            (current.frames.rows, current.frames.values) = (0, std::mem::take(&mut current.frames.values));
            current.frames.values.clear();
            self.keep(added)?;
        }
        Ok(())
    }

    fn finish_file(&mut self) -> io::Result<()> {
        self.finish_window()?;
        let Some(CurrentFile { input, rows: Some(rows), .. }) = self.current.take() else { return Ok(()) };
        let finished = self.journal.finish(&input, rows);
        self.keep(finished)
    }

    /// Stops reading the output if the journal cannot be written.
    fn keep(&mut self, result: Result<(), EmbedError>) -> io::Result<()> {
        result.map_err(|error| {
            self.failed = Some(error);
            io::ErrorKind::Other.into()
        })
    }
}

/// Reads the rows of `output` if it was written with `settings`.
fn read(output: &Path, settings: &Provenance, parts: Parts, on_row: &mut output::OnRow<'_>) -> Result<(), EmbedError> {
    let accept = |stored: &StoredSettings| {
        let differs = match stored {
            StoredSettings::Full(stored) => settings.difference_in_values(stored),
            StoredSettings::Digest(digest) if *digest == settings.digest() => None,
            StoredSettings::Digest(_) => Some("its rows hold another digest of them".to_string()),
        };
        differs.map_or(Ok(()), |what| Err(io::Error::other(format!("it was written with other settings ({what})"))))
    };
    let table = StoredTable { path: output, settings, parts, accept: &accept };
    table.read(on_row).map_err(|error| failed(output, &error))
}

fn failed(output: &Path, error: &io::Error) -> EmbedError {
    EmbedError::Update { path: output.to_path_buf(), reason: error.to_string() }
}
