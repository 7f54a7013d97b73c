//! Writing the table of a run: its rows come from the journal, and one window's vectors at a time are in memory.

use std::io;
use std::path::Path;

use mert_table::{Position, Provenance, RowSource, SourceFile};

use crate::EmbedError;
use crate::inputs::Input;
use crate::journal::{Journal, WindowRecord};

/// Writes the rows of `inputs` that the journal holds to `output`, whole or not at all.
///
/// # Errors
/// [`EmbedError::NothingEmbedded`], [`EmbedError::Table`].
pub fn write_output(
    output: &Path,
    provenance: &Provenance,
    inputs: &[Input],
    journal: &mut Journal,
) -> Result<(), EmbedError> {
    let inputs: Vec<&Input> = inputs.iter().filter(|input| !journal.windows(input).is_empty()).collect();
    if inputs.is_empty() {
        return Err(EmbedError::NothingEmbedded);
    }
    Ok(mert_table::write(output, provenance, &mut JournalRows { provenance, inputs, journal })?)
}

/// The rows of finished files.
pub(crate) struct JournalRows<'a> {
    pub(crate) provenance: &'a Provenance,
    /// Files with rows, in the order of the inputs.
    pub(crate) inputs: Vec<&'a Input>,
    pub(crate) journal: &'a mut Journal,
}

impl RowSource for JournalRows<'_> {
    fn files(&self) -> Vec<SourceFile> {
        self.inputs.iter().map(|input| SourceFile::new(&input.path, input.version)).collect()
    }

    fn rows(&self) -> u64 {
        self.inputs.iter().flat_map(|input| self.journal.windows(input)).map(|window| u64::from(window.rows)).sum()
    }

    fn for_each_position(&mut self, on_position: &mut dyn FnMut(&Position) -> io::Result<()>) -> io::Result<()> {
        for (file, input) in self.inputs.iter().enumerate() {
            for window in self.journal.windows(input) {
                (0..window.rows).try_for_each(|row| on_position(&position(self.provenance, file, window, row)))?;
            }
        }
        Ok(())
    }

    fn for_each_row(&mut self, on_row: &mut dyn FnMut(&Position, &[f32]) -> io::Result<()>) -> io::Result<()> {
        let width = self.provenance.values_per_row();
        let mut values = Vec::new();
        for (file, input) in self.inputs.iter().enumerate() {
            for index in 0..self.journal.windows(input).len() {
                let window = self.journal.windows(input)[index];
                values.resize(window.rows as usize * width, 0.0);
                self.journal.read(&window, &mut values)?;
                for (row, values) in (0..window.rows).zip(values.chunks_exact(width)) {
                    on_row(&position(self.provenance, file, &window, row), values)?;
                }
            }
        }
        Ok(())
    }
}

/// The position of a row of `window`: the window itself, or without pooling one of its frames.
fn position(provenance: &Provenance, file: usize, window: &WindowRecord, row: u32) -> Position {
    let has_frames = provenance.pool.has_frames();
    let (start, samples) = match has_frames {
        true => {
            let offset = u64::from(row).saturating_mul(provenance.frame_hop as u64);
            (window.start.saturating_add(offset), provenance.frame_length as u64)
        }
        false => (window.start, window.samples),
    };
    let seconds = |samples: u64| samples as f64 / f64::from(provenance.sample_rate);
    Position {
        file,
        window: window.window,
        frame: has_frames.then_some(row),
        start: seconds(start),
        end: seconds(start.saturating_add(samples)),
    }
}
