//! The location of the weights in the user's input: a file, a shard, a folder, or something else, which an error names.

use std::fs::FileType;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mert_arch::{ADAPTER_CONFIG_FILE, WEIGHT_FILES};

use crate::other_formats::folder_kind;
use crate::paths::{entries, file_name};
use crate::sharded::{index_of_shard, merge_advice, shard_count};
use crate::{CheckpointError, Result};

/// The location of a model's weights and configuration.
pub(super) struct Location {
    /// The file with the weights, or their index.
    pub(super) weights: PathBuf,
    /// The folder of the configuration files.
    pub(super) folder: PathBuf,
    /// A note about a file that was chosen without being named by the user.
    pub(super) note: Option<String>,
    /// The name of an adapter's file in the folder, which transformers applies to the model.
    pub(super) adapter: Option<String>,
}

/// Locates the weights of a file or folder.
///
/// # Errors
/// [`CheckpointError::NotACheckpoint`] naming what was found instead, [`CheckpointError::Open`] if nothing exists.
pub(super) fn locate(path: &Path) -> Result<Location> {
    let metadata = std::fs::metadata(path).map_err(|source| match dangling(path) {
        Some(error) => error,
        None => CheckpointError::open(path, source),
    })?;
    if metadata.is_dir() {
        let (weights, note) = in_folder(path)?;
        let adapter = adapter_in(path);
        return Ok(Location { weights, folder: path.to_path_buf(), note, adapter });
    }
    if !metadata.is_file() {
        let reason = format!(
            "it is {}, and weights are read from many places of a file; write it to a file and give that",
            kind(metadata.file_type())
        );
        return Err(CheckpointError::not_a_checkpoint(path, reason));
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let adapter = adapter_in(&folder).filter(|_| !is_adapter(&file_name(path)));
    let (weights, note) = match index_of_shard(path, &folder)? {
        Some((index, shards)) => {
            let note = format!("{} is one of {shards} shards; all are read", file_name(path));
            (index, Some(note))
        }
        None => (path.to_path_buf(), None),
    };
    Ok(Location { weights, folder, note, adapter })
}

/// A file in the folder of the weights, if it exists. A dangling link is an error, because its target would matter.
pub(super) fn find_file(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    let file = folder.join(name);
    match dangling(&file) {
        Some(error) => Err(error),
        None => Ok(Some(file).filter(|file| file.is_file())),
    }
}

/// The error for a symbolic link without a target.
fn dangling(path: &Path) -> Option<CheckpointError> {
    let target = std::fs::read_link(path).ok()?;
    let missing = std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    missing.then(|| {
        let in_cache = target.components().any(|part| part.as_os_str() == "blobs");
        let advice = if in_cache {
            "the hub's cache is incomplete: download the model again (`hf download OWNER/NAME`, or give OWNER/NAME)"
        } else {
            "copy the file itself, or make the link again"
        };
        CheckpointError::not_a_checkpoint(
            path,
            format!("it is a link to {}, which does not exist; {advice}", target.display()),
        )
    })
}

/// The kind of a file that is not a regular one.
fn kind(file_type: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_fifo() {
            return "a pipe";
        }
        if file_type.is_socket() {
            return "a socket";
        }
        if file_type.is_char_device() || file_type.is_block_device() {
            return "a device";
        }
    }
    let _ = file_type;
    "not a regular file"
}

/// Whether PEFT writes a file of this name.
fn is_adapter(name: &str) -> bool {
    name == ADAPTER_CONFIG_FILE || name.starts_with("adapter_model.")
}

/// The name of an adapter's file in a folder.
fn adapter_in(folder: &Path) -> Option<String> {
    entries(folder).iter().map(|file| file_name(file)).find(|name| is_adapter(name))
}

/// The weights in a folder, with a note on the choice: a file with a name that transformers uses, or the only file that
/// may be a checkpoint.
fn in_folder(folder: &Path) -> Result<(PathBuf, Option<String>)> {
    for name in WEIGHT_FILES {
        if let Some(file) = find_file(folder, name)? {
            return Ok((file, None));
        }
    }
    let none = format!("the folder has none of {}", WEIGHT_FILES.join(", "));
    if folder.join("snapshots").is_dir() {
        let snapshots: Vec<String> = entries(&folder.join("snapshots")).iter().map(|file| file_name(file)).collect();
        let reason = format!(
            "it is the hub's cache of a model; give one of its snapshots: {}",
            snapshots
                .iter()
                .map(|name| folder.join("snapshots").join(name).display().to_string())
                .collect::<Vec<_>>()
                .join(", ")
        );
        return Err(CheckpointError::not_a_checkpoint(folder, reason));
    }
    let candidates: Vec<PathBuf> = entries(folder).into_iter().filter(|file| may_hold_weights(file)).collect();
    match &candidates[..] {
        [] => Err(CheckpointError::not_a_checkpoint(folder, folder_kind(folder).unwrap_or(none))),
        [only] => {
            if let Some(error) = dangling(only) {
                return Err(error);
            }
            let note = format!("{none}; using its only other checkpoint: {}", file_name(only));
            Ok((only.clone(), Some(note)))
        }
        [first, ..] if candidates.iter().all(|file| shard_count(&file_name(file)).is_some()) => {
            let reason = format!(
                "it holds {} shards of a model, such as {}, without their index; {}",
                candidates.len(),
                file_name(first),
                merge_advice(first, folder)
            );
            Err(CheckpointError::not_a_checkpoint(folder, reason))
        }
        _ => {
            let names: Vec<String> = candidates.iter().map(|file| file_name(file)).collect();
            Err(CheckpointError::not_a_checkpoint(
                folder,
                format!("{none}; give one of its other files: {}", names.join(", ")),
            ))
        }
    }
}

/// Whether a file may hold a model's weights by its name. Files that trainers write beside a model do not.
fn may_hold_weights(file: &Path) -> bool {
    const EXTENSIONS: [&str; 5] = ["safetensors", "bin", "pt", "pth", "ckpt"];
    const OTHERS: [&str; 9] = [
        "optimizer",
        "optim",
        "scheduler",
        "scaler",
        "rng_state",
        "random_states",
        "training_args",
        "adapter_",
        "vocab",
    ];
    let name = file_name(file).to_ascii_lowercase();
    let is_file = std::fs::metadata(file).map_or_else(|_| file.is_symlink(), |metadata| metadata.is_file());
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    is_file
        && EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
        && !OTHERS.iter().any(|other| name.starts_with(other))
        && !name.ends_with("_optim_states.pt")
        && !name.ends_with("_model_states.pt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::TempDir::new().unwrap();
        files.iter().for_each(|name| std::fs::write(folder.path().join(name), b"x").unwrap());
        folder
    }

    fn refused(path: &Path) -> String {
        locate(path).err().unwrap().to_string()
    }

    #[test]
    fn folders() {
        let both = folder(&["model.safetensors", "checkpoint_best.pt"]);
        let located = locate(both.path()).unwrap();
        assert_eq!((file_name(&located.weights).as_str(), located.note), ("model.safetensors", None));

        let other = folder(&["checkpoint_best.pt", "optimizer.pt", "training_args.bin", "rng_state.pth", "README.md"]);
        let located = locate(other.path()).unwrap();
        assert_eq!(file_name(&located.weights), "checkpoint_best.pt");
        assert!(located.note.unwrap().contains("checkpoint_best.pt"));

        let several = folder(&["checkpoint_best.pt", "checkpoint_last.pt"]);
        let message = refused(several.path());
        assert!(message.contains("give one of its other files: checkpoint_best.pt, checkpoint_last.pt"), "{message}");
        assert!(refused(folder(&["optimizer.pt"]).path()).contains("none of model.safetensors"));

        let cache = folder(&[]);
        std::fs::create_dir_all(cache.path().join("snapshots/0123abcd")).unwrap();
        let message = refused(cache.path());
        assert!(message.contains("0123abcd") && message.contains("snapshots"), "{message}");
    }

    /// transformers applies an adapter that it finds beside the weights.
    #[test]
    fn a_model_with_an_adapter_beside_it() {
        for adapter in ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"] {
            let both = folder(&["model.safetensors", "checkpoint.pt", adapter]);
            for path in
                [both.path().to_path_buf(), both.path().join("model.safetensors"), both.path().join("checkpoint.pt")]
            {
                assert_eq!(locate(&path).unwrap().adapter.as_deref(), Some(adapter));
            }
        }
        // The adapter itself is refused for its tensors.
        let alone = folder(&["adapter_model.safetensors", "adapter_config.json"]);
        assert_eq!(locate(&alone.path().join("adapter_model.safetensors")).unwrap().adapter, None);
        assert!(refused(alone.path()).contains("no weights of the model"));
        assert_eq!(locate(folder(&["model.safetensors", "adapter.txt"]).path()).unwrap().adapter, None);
    }

    #[test]
    fn one_shard_of_several() {
        let shards =
            folder(&["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors"]);
        let first = shards.path().join("model-00001-of-00002.safetensors");
        let message = refused(&first);
        assert!(message.contains("one of 2 shards") && message.contains("index"), "{message}");
        std::fs::remove_file(shards.path().join("model.safetensors")).unwrap();
        for message in [refused(&first), refused(shards.path())] {
            for word in ["get model.safetensors.index.json", "python -c", "merged.safetensors"] {
                assert!(message.contains(word), "{word}: {message}");
            }
        }
        std::fs::write(shards.path().join("model.safetensors"), b"x").unwrap();
        let index =
            r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
        std::fs::write(shards.path().join("model.safetensors.index.json"), index).unwrap();
        let located = locate(&first).unwrap();
        assert_eq!(file_name(&located.weights), "model.safetensors.index.json");
        assert!(located.note.unwrap().contains("one of 2 shards"));
        // A file that the index does not list is a checkpoint of its own.
        let whole = shards.path().join("model.safetensors");
        assert_eq!(locate(&whole).unwrap().weights, whole);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices() {
        use std::os::unix::fs::symlink;
        let snapshot = folder(&[]);
        symlink("../../blobs/aaaa", snapshot.path().join("pytorch_model.bin")).unwrap();
        for path in [snapshot.path().to_path_buf(), snapshot.path().join("pytorch_model.bin")] {
            let message = refused(&path);
            for word in ["pytorch_model.bin", "../../blobs/aaaa", "does not exist", "cache is incomplete"] {
                assert!(message.contains(word), "{word}: {message}");
            }
        }
        symlink("gone.json", snapshot.path().join("config.json")).unwrap();
        assert!(find_file(snapshot.path(), "config.json").is_err());
        assert_eq!(find_file(snapshot.path(), "other.json").unwrap(), None);
        assert!(refused(Path::new("/dev/null")).contains("a device"));
        assert!(refused(&snapshot.path().join("none")).contains("No such file"));
    }
}
