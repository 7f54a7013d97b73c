//! Recognition of zip archives that are not `torch.save` checkpoints, by their entry names, with what to do.

use std::fs::File;
use std::path::Path;

use mert_arch::printable_line;

use super::folder::DCP_TO_TORCH;
use crate::commands::{command, python, word_or_placeholder};
use crate::torch::open_archive;
use crate::{CheckpointError, Result};

/// A kind of archive, identified by an entry name, and what to do with it.
struct Kind {
    /// Whether an entry name, below the archive's root folder, identifies the kind.
    has_entry: fn(&str) -> bool,
    what: &'static str,
    fix: Fix,
}

enum Fix {
    /// Advice in words.
    Text(&'static str),
    /// A line of Python that saves the state dict.
    Python(&'static str),
}

const KINDS: &[Kind] = &[
    Kind {
        has_entry: |name| name.ends_with("constants.pkl") || name.contains("/code/"),
        what: "a TorchScript archive (torch.jit.save), with a program in it",
        fix: Fix::Python("torch.save(torch.jit.load({path}, map_location=\"cpu\").state_dict(), \"state_dict.pt\")"),
    },
    Kind {
        has_entry: |name| name.ends_with("archive_format") || name.ends_with("serialized_exported_program.json"),
        what: "a program of torch.export (.pt2)",
        fix: Fix::Python("torch.save(torch.export.load({path}).state_dict, \"state_dict.pt\")"),
    },
    Kind {
        has_entry: |name| name.ends_with("model.weights.h5"),
        what: "a Keras model (.keras)",
        fix: Fix::Text("give the PyTorch checkpoint that it was made from"),
    },
    Kind {
        has_entry: |name| name.ends_with(".mlmodel"),
        what: "a zipped Core ML package",
        fix: Fix::Text("give the PyTorch checkpoint that it was made from"),
    },
    Kind {
        has_entry: |name| name.ends_with(".npy"),
        what: "a file of numpy arrays (.npz)",
        fix: Fix::Text("make a dictionary of tensors of it with torch.from_numpy, and torch.save that"),
    },
];

/// The ends of file names that checkpoints have.
const CHECKPOINT_ENDINGS: [&str; 6] = [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar"];

/// A sentence about an archive that is not a checkpoint, and what to do; `None` if it has the pickle of `torch.save`.
///
/// # Errors
/// [`CheckpointError::Open`] if it cannot be read.
pub(super) fn archive_kind(path: &Path) -> Result<Option<String>> {
    if path.extension().is_some_and(|extension| extension == "distcp") {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(Some(format!("it is a part of a distributed checkpoint; {}", command(DCP_TO_TORCH, folder))));
    }
    let file = File::open(path).map_err(|source| CheckpointError::open(path, source))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let archive = match open_archive(file) {
        Ok(archive) => archive,
        Err(error) => {
            return Ok(Some(format!(
                "it begins as a zip archive, as torch.save writes it, but has no directory at its end ({error}): it was \
                 not downloaded or saved completely ({length} bytes); download or save it again"
            )));
        }
    };
    let names: Vec<String> = archive.file_names().flatten().map(|name| format!("/{name}")).collect();
    if let Some(kind) = KINDS.iter().find(|kind| names.iter().any(|name| (kind.has_entry)(name))) {
        let fix = match kind.fix {
            Fix::Text(fix) => fix.to_string(),
            Fix::Python(script) => format!("save its state dict, if you trust it: {}", python(script, path)),
        };
        return Ok(Some(format!("it is {}; {fix}", kind.what)));
    }
    if names.iter().any(|name| name.ends_with("/data.pkl")) {
        return Ok(None);
    }
    let is_checkpoint = |name: &&String| CHECKPOINT_ENDINGS.iter().any(|ending| name.to_lowercase().ends_with(ending));
    Ok(Some(match names.iter().find(is_checkpoint) {
        Some(name) => format!(
            "it is a zip archive with a checkpoint in it, `{}`; unpack it and give that: `unzip {} {}`",
            printable_line(&name[1..]),
            command("{path}", path),
            word_or_placeholder(name.trim_start_matches('/')),
        ),
        None => format!(
            "it is a zip archive of {} files without a checkpoint of torch.save in it (no data.pkl); unpack it to see \
             what it is: `unzip -l {}`",
            names.len(),
            command("{path}", path),
        ),
    }))
}
