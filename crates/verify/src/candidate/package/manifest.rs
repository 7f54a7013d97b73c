use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

/// `Manifest.json`: which file in the package is what.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    file_format_version: String,
    item_info_entries: BTreeMap<String, Item>,
    root_model_identifier: String,
}

/// All four are demanded by Core ML.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(rename = "author")]
    _author: String,
    #[serde(rename = "description")]
    _description: String,
    #[serde(rename = "name")]
    _name: String,
    path: String,
}

/// The files of a package, by what the manifest says of them.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) model: PathBuf,
    pub(super) weights: PathBuf,
}

impl Files {
    /// Finds the files of the package in this folder.
    pub(super) fn find(package: &Path) -> Result<Self, String> {
        let path = package.join("Manifest.json");
        if !path.is_file() {
            return Err("it has no file Manifest.json, so it is no Core ML package".into());
        }
        let text = std::fs::read_to_string(&path).map_err(|e| format!("Manifest.json cannot be read: {e}"))?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|e| format!("Manifest.json: {e}"))?;
        if manifest.file_format_version != "1.0.0" {
            let found = manifest.file_format_version;
            return Err(format!("Manifest.json: `fileFormatVersion` is {found}, expected 1.0.0"));
        }
        let root = manifest.item_info_entries.get(&manifest.root_model_identifier).ok_or_else(|| {
            format!("Manifest.json: no entry has the `rootModelIdentifier` {}", manifest.root_model_identifier)
        })?;
        let model = data_path(package, &root.path)?;
        if !model.is_file() {
            return Err(format!("Manifest.json names `{}`, which is not there", root.path));
        }
        // Every entry is Core ML's business, which refuses a package for one that leads nowhere.
        for item in manifest.item_info_entries.values() {
            if !data_path(package, &item.path)?.exists() {
                return Err(format!("Manifest.json names `{}`, which is not there", item.path));
            }
        }
        // MIL's `@model_path/weights` is beside the model.
        let weights = model.with_file_name("weights");
        let mut items = manifest.item_info_entries.values();
        if !items.any(|item| data_path(package, &item.path).is_ok_and(|path| path == weights)) {
            return Err("Manifest.json has no entry for the folder `weights` beside the model".into());
        }
        let weights = weights.join("weight.bin");
        if !weights.is_file() {
            return Err("there is no weights/weight.bin beside the model".into());
        }
        Ok(Files { model, weights })
    }
}

/// A path in the manifest is relative to `Data`, and must stay in it.
fn data_path(package: &Path, relative: &str) -> Result<PathBuf, String> {
    let relative = Path::new(relative);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("Manifest.json names `{}`, which is not inside the package", relative.display()));
    }
    Ok(package.join("Data").join(relative))
}
