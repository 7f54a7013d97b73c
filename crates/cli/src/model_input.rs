//! The model that an argument names, as converted weights on the disk: a file as it is, a folder as its weights in one file or
//! in shards, and a model of the hub as the converted weights that it holds, or else as its conversion in the toolkit's cache.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mert_arch::MetadataError;
use mert_hub::HubName;
use mert_runtime::ConvertedFile;
use mert_table::printable_path;

use crate::conversion_cache::ConversionCache;
use crate::hub::{Hub, Messages};

/// The names of converted weights in a model's folder, in the order of preference: one file, or an index of shards.
const CONVERTED_FILES: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// The converted file, or index of shards, that `model` names: a file, a folder that holds it as `model.safetensors` or
/// `model.safetensors.index.json`, or `owner/name` or `hf://owner/name` with an optional `@revision`.
///
/// # Errors
/// If there is neither such a path nor such a model, the folder holds no converted file, or the model of the hub cannot
/// be downloaded or converted.
pub fn converted_file(model: &Path, messages: Messages) -> anyhow::Result<PathBuf> {
    let Some(name) = HubName::of_input(model)? else {
        if !model.exists() && model.extension().is_none_or(|extension| extension != "safetensors") {
            let model = printable_path(model);
            bail!(
                "there is no file `{model}`; give a converted .safetensors file, or a model of the hub as owner/name"
            );
        }
        return if model.is_dir() { converted_file_in(model) } else { Ok(model.to_path_buf()) };
    };
    let model = Hub::from_env(messages)?.model(&name)?;
    if is_converted(&model.weights) {
        return Ok(model.weights);
    }
    ConversionCache::from_env()?.converted(&model, messages)
}

/// The converted weights in `folder`.
fn converted_file_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let files = CONVERTED_FILES.iter().map(|name| folder.join(name));
    if let Some(file) = files.filter(|file| file.is_file()).find(|file| is_converted(file)) {
        return Ok(file);
    }
    let folder = printable_path(folder);
    bail!(
        "the folder {folder} holds no converted {}: convert its model with `mert-convert {folder} converted.safetensors`, and \
         give converted.safetensors",
        CONVERTED_FILES[0]
    )
}

/// Whether weights were written by the converter or saved by MLX. A damaged file counts as converted: opening it names the
/// damage.
fn is_converted(weights: &Path) -> bool {
    let name = weights.to_string_lossy();
    let is_safetensors = [".safetensors", ".safetensors.index.json"].iter().any(|end| name.ends_with(end));
    let lacks_metadata = || {
        matches!(
            ConvertedFile::open(weights),
            Err(mert_runtime::Error::Metadata { source: MetadataError::Missing(_), .. })
        )
    };
    is_safetensors && !lacks_metadata()
}
