//! An output in the form of a folder with an array for each input, as voice conversion keeps features.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use mert_fs::replace_file;
use mert_table::{Provenance, RowSource, escape};
use serde::Serialize;

use crate::EmbedError;
use crate::inputs::Input;
use crate::journal::Journal;
use crate::output::JournalRows;

/// The file in `folder` of each input: its name with `.npy` in place of its extension.
///
/// # Errors
/// [`EmbedError::SameOutput`] if two inputs have one; [`EmbedError::Input`] for standard input, which has no name.
pub fn files_in_folder(folder: &Path, inputs: &[Input]) -> Result<Vec<PathBuf>, EmbedError> {
    let mut seen: HashMap<String, &Input> = HashMap::new();
    let name = |input: &Input| {
        if input.is_stdin() {
            let reason =
                "samples on standard input have no name for a file of features; give files, or a table as output";
            return Err(EmbedError::input(&input.path, reason));
        }
        let mut name = input.path.file_stem().unwrap_or_default().to_os_string();
        name.push(".npy");
        Ok(folder.join(name))
    };
    let mut files = Vec::with_capacity(inputs.len());
    for input in inputs {
        let file = name(input)?;
        // Some filesystems do not tell upper from lower case.
        if let Some(first) = seen.insert(file.to_string_lossy().to_lowercase(), input) {
            let (first, second) = (first.path.clone(), input.path.clone());
            return Err(EmbedError::SameOutput { first, second, output: file });
        }
        files.push(file);
    }
    Ok(files)
}

/// The number of files in `folder` other than `files`, such as arrays of an earlier run. Programs for voice conversion would
/// load them with the others.
pub fn other_files(folder: &Path, files: &[PathBuf]) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| !files.contains(&entry.path())).count()
}

/// The file with the settings of the features in `folder`. It is beside the folder: programs for voice conversion load
/// every file in it as an array.
pub fn provenance_file(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(".provenance.json");
    folder.with_file_name(name)
}

/// The content of [`provenance_file`].
#[derive(Serialize)]
struct Record<'a> {
    settings: &'a Provenance,
    files: Vec<FileRecord>,
}

/// An input and its array.
#[derive(Serialize)]
struct FileRecord {
    file: String,
    file_size: Option<u64>,
    /// In microseconds since 1970 (UTC).
    file_modified: Option<i64>,
    npy: String,
    rows: u64,
}

/// Writes the rows of each of `inputs` that the journal holds to its file in `folder`, f32 and `(rows, dim)`, or
/// `(rows, hidden states, dim)` for several hidden states, and the settings to [`provenance_file`]. Each file appears whole
/// or not at all. Returns the number of files.
///
/// # Errors
/// [`EmbedError::NothingEmbedded`], [`EmbedError::Table`], [`EmbedError::Report`], and those of [`files_in_folder`].
pub fn write_output_folder(
    folder: &Path,
    provenance: &Provenance,
    inputs: &[Input],
    journal: &mut Journal,
) -> Result<usize, EmbedError> {
    let files = files_in_folder(folder, inputs)?;
    let mut records = Vec::new();
    std::fs::create_dir_all(folder).map_err(|source| EmbedError::write(folder, source))?;
    for (input, path) in inputs.iter().zip(&files) {
        if journal.windows(input).is_empty() {
            continue;
        }
        let mut rows = JournalRows { provenance, inputs: vec![input], journal };
        mert_table::write_array(path, provenance, &mut rows)?;
        let (file_size, file_modified) = input.version.map(|version| (version.size, version.modified)).unzip();
        let npy = escape(path.file_name().unwrap_or_default().as_ref());
        records.push(FileRecord { file: escape(&input.path), file_size, file_modified, npy, rows: rows.rows() });
    }
    if records.is_empty() {
        return Err(EmbedError::NothingEmbedded);
    }
    let record = Record { settings: provenance, files: records };
    replace_file(&provenance_file(folder), |file| {
        file.write_all(&serde_json::to_vec_pretty(&record)?)?;
        file.write_all(b"\n")
    })?;
    Ok(record.files.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(paths: &[&str]) -> Vec<Input> {
        paths.iter().map(|path| Input { path: path.into(), version: None }).collect()
    }

    #[test]
    fn files_are_named_after_inputs() {
        let files = files_in_folder("f".as_ref(), &inputs(&["a/x.wav", "a/y.tar.flac", "z"])).unwrap();
        assert_eq!(files, ["f/x.npy", "f/y.tar.npy", "f/z.npy"].map(PathBuf::from));
        assert_eq!(provenance_file("a/f/".as_ref()), PathBuf::from("a/f.provenance.json"));
        for same in [["a/x.wav", "b/x.wav"], ["x.wav", "x.mp3"], ["x.wav", "X.wav"]] {
            let error = files_in_folder("f".as_ref(), &inputs(&same)).unwrap_err().to_string();
            assert!(error.contains(same[0]) && error.contains(same[1]) && error.contains(".npy"), "{error}");
        }
        assert!(matches!(files_in_folder("f".as_ref(), &inputs(&["-"])), Err(EmbedError::Input { .. })));
    }
}
