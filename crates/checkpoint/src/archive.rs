//! Recognition of zip archives that are not `torch.save` checkpoints, by their entry names, with what to do.

use mert_arch::printable_line;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use zip::ZipArchive;
use zip::read::{ArchiveOffset, Config};
use zip::result::ZipResult;

use super::folder::DCP_TO_TORCH;
use super::signature::{command, python, quoted};
use crate::{CheckpointError, Result};

/// An entry name that identifies a kind of archive.
struct Mark {
    /// Whether an entry name, below the archive's root folder, is the mark.
    found: fn(&str) -> bool,
    what: &'static str,
    fix: Fix,
}

enum Fix {
    /// Advice in words.
    Say(&'static str),
    /// A line of Python that saves the state dict.
    Python(&'static str),
}

const MARKS: &[Mark] = &[
    Mark {
        found: |name| name.ends_with("constants.pkl") || name.contains("/code/"),
        what: "a TorchScript archive (torch.jit.save), with a program in it",
        fix: Fix::Python("torch.save(torch.jit.load({path}, map_location=\"cpu\").state_dict(), \"state_dict.pt\")"),
    },
    Mark {
        found: |name| name.ends_with("archive_format") || name.ends_with("serialized_exported_program.json"),
        what: "a program of torch.export (.pt2)",
        fix: Fix::Python("torch.save(torch.export.load({path}).state_dict, \"state_dict.pt\")"),
    },
    Mark {
        found: |name| name.ends_with("model.weights.h5"),
        what: "a Keras model (.keras)",
        fix: Fix::Say("give the PyTorch checkpoint that it was made from"),
    },
    Mark {
        found: |name| name.ends_with(".mlmodel"),
        what: "a zipped Core ML package",
        fix: Fix::Say("give the PyTorch checkpoint that it was made from"),
    },
    Mark {
        found: |name| name.ends_with(".npy"),
        what: "a file of numpy arrays (.npz)",
        fix: Fix::Say("make a dictionary of tensors of it with torch.from_numpy, and torch.save that"),
    },
];

/// Opens an archive that starts at byte 0 of its file. The crate's own search for the start mistakes the second entry
/// for the first if the first one's name has 30 characters, because PyTorch writes the zip64 records after the
/// directory.
pub(super) fn open_archive<R: Read + Seek>(file: R) -> ZipResult<ZipArchive<R>> {
    ZipArchive::with_config(Config { archive_offset: ArchiveOffset::Known(0) }, file)
}

const CHECKPOINTS: [&str; 6] = [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar"];

/// Refuses an archive without the pickle of `torch.save`.
///
/// # Errors
/// [`CheckpointError::NotACheckpoint`] with the kind of archive and what to do.
pub(super) fn refuse_other_archives(path: &Path) -> Result<()> {
    let refused = |reason: String| Err(CheckpointError::NotACheckpoint { path: path.to_path_buf(), reason });
    if path.extension().is_some_and(|extension| extension == "distcp") {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return refused(format!("it is a part of a distributed checkpoint; {}", command(DCP_TO_TORCH, folder)));
    }
    let file = File::open(path).map_err(|source| CheckpointError::Open { path: path.to_path_buf(), source })?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let archive = match open_archive(file) {
        Ok(archive) => archive,
        Err(error) => {
            return refused(format!(
                "it begins as a zip archive, as torch.save writes it, but has no directory at its end ({error}): it was \
                 not downloaded or saved completely ({length} bytes); download or save it again"
            ));
        }
    };
    let names: Vec<String> = archive.file_names().flatten().map(|name| format!("/{name}")).collect();
    if let Some(mark) = MARKS.iter().find(|mark| names.iter().any(|name| (mark.found)(name))) {
        let fix = match mark.fix {
            Fix::Say(fix) => fix.to_string(),
            Fix::Python(script) => format!("save its state dict, if you trust it: {}", python(script, path)),
        };
        return refused(format!("it is {}; {fix}", mark.what));
    }
    if names.iter().any(|name| name.ends_with("/data.pkl")) {
        return Ok(());
    }
    let is_checkpoint = |name: &&String| CHECKPOINTS.iter().any(|ending| name.to_lowercase().ends_with(ending));
    refused(match names.iter().find(is_checkpoint) {
        Some(name) => format!(
            "it is a zip archive with a checkpoint in it, `{}`; unpack it and give that: `unzip {} {}`",
            printable_line(&name[1..]),
            command("{path}", path),
            quoted(name.trim_start_matches('/')),
        ),
        None => format!(
            "it is a zip archive of {} files without a checkpoint of torch.save in it (no data.pkl); unpack it to see \
             what it is: `unzip -l {}`",
            names.len(),
            command("{path}", path),
        ),
    })
}
