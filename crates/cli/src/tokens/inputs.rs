//! The recordings that a subcommand is given, without the MIDI files that lie beside them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use mert_cli::terminal::say;
use mert_embed::inputs::{self, Input};

/// The recordings that `paths` and the file `list` name. A MIDI file of the name of a recording beside it has the recording's notes,
/// and is no recording itself.
///
/// # Errors
/// Those of [`inputs::collect`], and for standard input.
pub(crate) fn recordings(paths: &[PathBuf], list: Option<&Path>, quiet: bool) -> anyhow::Result<Vec<Input>> {
    let inputs::Inputs { files, notes } = inputs::collect(paths, list)?;
    ensure!(!files.iter().any(Input::is_stdin), "standard input is for `mert-tokens live`: name files or folders");
    notes.iter().filter(|_| !quiet).for_each(|note| say(note));
    let stems: HashSet<PathBuf> =
        files.iter().filter(|input| !is_midi(&input.path)).map(|input| input.path.with_extension("")).collect();
    let is_companion = |input: &Input| is_midi(&input.path) && stems.contains(&input.path.with_extension(""));
    Ok(files.into_iter().filter(|input| !is_companion(input)).collect())
}

/// True for the name of a MIDI file.
pub(crate) fn is_midi(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["mid", "midi"].iter().any(|midi| extension.eq_ignore_ascii_case(midi)))
}

/// The MIDI file of the name of the recording at `path`, beside it.
pub(crate) fn midi_beside(path: &Path) -> Option<PathBuf> {
    let stem = path.with_extension("");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).ok()?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(path.with_file_name(entry.ok()?.file_name())))
        .filter(|other| is_midi(other) && other.with_extension("") == stem && other.is_file())
        .collect();
    found.sort();
    found.into_iter().next()
}
