//! The model that an argument names, as a converted file on the disk: a file as it is, a folder as its
//! `model.safetensors`, and a model of the hub as the converted file that it holds, or else as its conversion in the
//! toolkit's cache.

use std::path::{Path, PathBuf};

use anyhow::bail;
use mert_arch::MetadataError;
use mert_hub::HubName;
use mert_runtime::ConvertedFile;
use mert_table::printable_path;

use crate::conversion_cache::ConversionCache;
use crate::hub::{Hub, Messages};

/// The name of the converted file in a model's folder.
const CONVERTED_FILE: &str = "model.safetensors";

/// The converted file that `model` names: a file, a folder that holds it as `model.safetensors`, or `owner/name` or
/// `hf://owner/name` with an optional `@revision`.
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

/// The converted file in `folder`.
fn converted_file_in(folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join(CONVERTED_FILE);
    if file.is_file() && is_converted(&file) {
        return Ok(file);
    }
    let folder = printable_path(folder);
    bail!(
        "the folder {folder} holds no converted {CONVERTED_FILE}: convert its model with `mert-convert {folder} \
         converted.safetensors`, and give converted.safetensors"
    )
}

/// Whether weights were written by the converter. A damaged file counts as converted: opening it names the damage.
fn is_converted(weights: &Path) -> bool {
    let is_safetensors = weights.extension().is_some_and(|extension| extension == "safetensors");
    let lacks_metadata = || {
        matches!(
            ConvertedFile::open(weights),
            Err(mert_runtime::Error::Metadata { source: MetadataError::Missing(_), .. })
        )
    };
    is_safetensors && !lacks_metadata()
}
