//! The manifest of a package, which names the model and the weights
//! (<https://github.com/apple/coremltools/blob/main/modelpackage/src/ModelPackage.cpp>).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

/// The file `Manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    file_format_version: String,
    item_info_entries: BTreeMap<String, Item>,
    root_model_identifier: String,
}

/// An entry of the manifest. Core ML requires all four fields.
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

/// The files of a package that the manifest names.
#[derive(Debug)]
pub(super) struct PackageFiles {
    pub(super) model: PathBuf,
    pub(super) weights: PathBuf,
}

impl PackageFiles {
    /// Finds the files of a package through its manifest, and checks that all entries exist.
    pub(super) fn find(package: &Path) -> Result<Self, String> {
        let path = package.join("Manifest.json");
        if !path.is_file() {
            return Err("it has no Manifest.json, so it is not a Core ML package".into());
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
            return Err(format!("Manifest.json names `{}`, which does not exist", root.path));
        }
        // Core ML refuses a package with an entry for a file that does not exist.
        for item in manifest.item_info_entries.values() {
            if !data_path(package, &item.path)?.exists() {
                return Err(format!("Manifest.json names `{}`, which does not exist", item.path));
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
        Ok(PackageFiles { model, weights })
    }
}

/// Resolves a path of the manifest, which is relative to `Data` and must stay in it.
fn data_path(package: &Path, relative: &str) -> Result<PathBuf, String> {
    let relative = Path::new(relative);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("Manifest.json names `{}`, which is not inside the package", relative.display()));
    }
    Ok(package.join("Data").join(relative))
}
