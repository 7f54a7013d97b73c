//! Mutants of the manifest and the metadata.

use mert_testkit::core_ml_package::field;

use super::edit::Fails::{Gate, With};
use super::edit::{Mutant, metadata, remove_item, rename_item, set_metadata};

pub(super) const MANIFEST: &[Mutant] = &[
    ("no manifest", With("Manifest.json"), |p| p.manifest = serde_json::Value::Null),
    ("the model's entry missing", With("no entry has the `rootModelIdentifier`"), |p| remove_item(p, "model.mlmodel")),
    ("the weights' entry missing", With("no entry for the folder `weights`"), |p| remove_item(p, "weights")),
    ("an entry for a file that does not exist", With("which does not exist"), |p| {
        p.manifest["itemInfoEntries"]["X"] =
            serde_json::json!({"author": "", "description": "", "name": "x", "path": "com.apple.CoreML/x"});
    }),
    ("an entry outside of the package", With("not inside the package"), |p| {
        p.manifest["itemInfoEntries"]["X"] =
            serde_json::json!({"author": "", "description": "", "name": "x", "path": "../../../etc/passwd"});
    }),
    ("another sample rate", With("`sample_rate` is 44100"), |p| set_metadata(p, "sample_rate", "44100")),
    ("an entry without its author", With("missing field `author`"), |p| {
        for item in p.manifest["itemInfoEntries"].as_object_mut().unwrap().values_mut() {
            item.as_object_mut().unwrap().remove("author");
        }
    }),
    ("another format version", With("fileFormatVersion"), |p| p.manifest["fileFormatVersion"] = "2.0.0".into()),
    ("a path that does not exist", With("which does not exist"), |p| rename_item(p, "com.apple.CoreML/other.mlmodel")),
    ("a path outside of the package", With("not inside the package"), |p| rename_item(p, "../../model.mlmodel")),
    ("rows named after other hidden states", With("hidden_states"), |p| set_metadata(p, "hidden_states", "1,2,3")),
    ("rows of layers that do not exist", With("expected some of 0 to 12"), |p| {
        set_metadata(p, "hidden_states", "1,2,3,4,5,6,7,8,9,10,11,12,13");
    }),
    ("weights said to be f32", Gate, |p| set_metadata(p, "dtype", "f32")),
    ("a configuration of another width", With("128"), |p| {
        let mut config = mert_arch::Config::from_json(&metadata(p, "config")).unwrap();
        config.hidden_size = 128;
        set_metadata(p, "config", &config.to_json());
    }),
    ("no configuration", With("`config`"), |p| {
        p.model.edit(field::DESCRIPTION, |d| d.edit(100, |metadata| metadata.remove_entry(100, "config")));
    }),
];
