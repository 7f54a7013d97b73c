//! Adding new and changed files to an existing output: its other rows are copied into the journal of the run.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use mert_table::{Provenance, Row, Settings, TableError, TableReader, unescape};

use crate::inputs::{Input, identity};
use crate::journal::{Journal, OpenFile};
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
    /// Files that are in the output and no longer exist or cannot be read. Their rows are kept.
    pub missing: Vec<Input>,
    /// Files of the output that are not among the inputs. Their rows are kept.
    pub others: Vec<Input>,
}

impl Update {
    /// Compares `inputs` with the rows of `output`. An input that the output holds under another spelling of its path
    /// takes that spelling.
    ///
    /// # Errors
    /// [`EmbedError::Update`] if `output` cannot be read, [`EmbedError::UpdateSettings`] if it was written with
    /// settings other than `provenance`.
    pub fn plan(output: &Path, provenance: &Provenance, inputs: &mut [Input]) -> Result<Self, EmbedError> {
        let mut stored: Vec<Input> = Vec::new();
        open(output, provenance)?
            .for_each_position(|row| {
                let path = row.path();
                if stored.last().is_none_or(|last| last.path != path) {
                    stored.push(Input { path, version: row.version });
                }
                Ok(())
            })
            .map_err(|error| EmbedError::update(output, error))?;
        let indices: HashMap<PathBuf, usize> =
            stored.iter().enumerate().map(|(index, input)| (identity(&input.path), index)).collect();
        let mut update = Update::default();
        let mut matched = HashSet::new();
        for input in inputs {
            let Some(&index) = indices.get(&identity(&input.path)) else {
                update.new += 1;
                continue;
            };
            matched.insert(index);
            input.path.clone_from(&stored[index].path);
            if input.version.is_some() && *input == stored[index] {
                update.unchanged.push(input.clone());
            } else if input.version.is_none() && !input.is_stdin() {
                // A drive that is not mounted must not cost its rows.
                input.version = stored[index].version;
                update.missing.push(input.clone());
            } else {
                update.changed += 1;
            }
        }
        let others = stored.into_iter().enumerate().filter(|(index, _)| !matched.contains(index));
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
    /// [`EmbedError::Update`] or [`EmbedError::UpdateOrder`] if `output` cannot be read, [`EmbedError::Write`] if
    /// `journal` cannot be written.
    pub fn import(&self, output: &Path, provenance: &Provenance, journal: &mut Journal) -> Result<(), EmbedError> {
        let wanted: HashMap<&Path, &Input> = self
            .unchanged
            .iter()
            .chain(&self.missing)
            .chain(&self.others)
            .filter(|input| !journal.has(input))
            .map(|input| (input.path.as_path(), input))
            .collect();
        let mut import = Import { journal, rate: f64::from(provenance.sample_rate), current: None };
        let mut seen: HashSet<PathBuf> = HashSet::new();
        let mut last = String::new();
        let imported = open(output, provenance)?.for_each_row(|row| {
            if seen.is_empty() || last != row.file {
                import.finish_file()?;
                let path = unescape(row.file);
                import.start_file(wanted.get(path.as_path()).copied());
                if !seen.insert(path) {
                    return Err(ImportError::Order { file: row.file.to_string() });
                }
                row.file.clone_into(&mut last);
            }
            Ok(import.row(&row)?)
        });
        match imported {
            Ok(()) => import.finish_file(),
            Err(ImportError::Journal(error)) => Err(error),
            Err(ImportError::Table(error)) => Err(EmbedError::update(output, error)),
            Err(ImportError::Order { file }) => Err(EmbedError::UpdateOrder { path: output.to_path_buf(), file }),
        }
    }
}

/// The reason why copying rows ended: the output or the journal.
enum ImportError {
    Table(TableError),
    Order { file: String },
    Journal(EmbedError),
}

impl From<TableError> for ImportError {
    fn from(error: TableError) -> Self {
        ImportError::Table(error)
    }
}

impl From<EmbedError> for ImportError {
    fn from(error: EmbedError) -> Self {
        ImportError::Journal(error)
    }
}

/// The state of copying rows into a journal.
struct Import<'a> {
    journal: &'a mut Journal,
    /// The model's sample rate, in hertz.
    rate: f64,
    current: Option<CurrentFile>,
}

/// The file whose rows are copied.
struct CurrentFile {
    input: Input,
    file: OpenFile,
    /// The current window: its number, first sample and length in samples.
    window: Option<(u32, u64, u64)>,
    /// The rows of the current window.
    frames: Embedding,
}

impl Import<'_> {
    /// Starts a file, whose rows are skipped if it is not `wanted`.
    fn start_file(&mut self, wanted: Option<&Input>) {
        self.current = wanted.map(|input| CurrentFile {
            input: input.clone(),
            file: self.journal.start_file(),
            window: None,
            frames: Embedding { rows: 0, values: Vec::new() },
        });
    }

    fn row(&mut self, row: &Row<'_>) -> Result<(), EmbedError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        // Frames of a window are identified by their numbers; without pooling the window's length is not used.
        if row.frame.unwrap_or(0) == 0 || current.window.is_none_or(|(window, ..)| window != row.window) {
            current.finish_window(self.journal)?;
            let samples = |seconds: f64| (seconds * self.rate).round() as u64;
            let length = samples(row.end).saturating_sub(samples(row.start));
            current.window = Some((row.window, samples(row.start), length));
        }
        current.frames.rows += 1;
        current.frames.values.extend_from_slice(row.values);
        Ok(())
    }

    fn finish_file(&mut self) -> Result<(), EmbedError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        current.finish_window(self.journal)?;
        self.journal.finish(&current.input, current.file)
    }
}

impl CurrentFile {
    fn finish_window(&mut self, journal: &mut Journal) -> Result<(), EmbedError> {
        if let Some(window) = self.window.take() {
            journal.add(&mut self.file, window, &self.frames)?;
            self.frames.rows = 0;
            self.frames.values.clear();
        }
        Ok(())
    }
}

/// Opens `output` if it was written with the settings in `provenance`.
fn open(output: &Path, provenance: &Provenance) -> Result<TableReader, EmbedError> {
    let table = TableReader::open(output).map_err(|error| EmbedError::update(output, error))?;
    let difference = match table.settings() {
        Some(Settings::Full(stored)) => provenance.difference_in_values(stored),
        Some(Settings::Digest(digest)) if *digest != provenance.digest() => {
            Some("its rows hold another digest of them".to_string())
        }
        // The rows of a `.npy` may be beside the array of another run.
        Some(Settings::Digest(_)) if table.values_per_row() != provenance.values_per_row() => {
            Some(format!("now {} values in a row, then {}", provenance.values_per_row(), table.values_per_row()))
        }
        Some(Settings::Digest(_)) | None => None,
    };
    match difference {
        Some(difference) => Err(EmbedError::UpdateSettings { path: output.to_path_buf(), difference }),
        None => Ok(table),
    }
}
