//! The type of a mutant, and the editors of a package that the mutants share.

use mert_testkit::CoreMlPackage;
use mert_testkit::core_ml_package::field;
use mert_testkit::protobuf::{Field, Message};

/// The way in which a mutant must fail.
#[derive(Clone, Copy)]
pub(super) enum Fails {
    /// The gate runs the mutant and finds its numbers wrong: exit status 1.
    Gate,
    /// The gate refuses the mutant, before or while it runs it, with a message that contains this text: exit status 2.
    With(&'static str),
}

/// A defect: its name, how it must fail, and the edit that makes it.
pub(super) type Mutant = (&'static str, Fails, fn(&mut CoreMlPackage));

/// The layer that most mutants change.
const LAYER: &str = "encoder_layers_5";

/// The weight that most mutants change.
pub(super) const Q_WEIGHT: &str = "encoder_layers_5_attention_q_proj_weight";

/// The name of a value in the layer that most mutants change.
pub(super) fn at(name: &str) -> String {
    format!("{LAYER}_{name}")
}

pub(super) const SDPA: &str = "scaled_dot_product_attention";

pub(super) fn text(value: &str) -> Field {
    Field::Bytes(value.as_bytes().to_vec())
}

pub(super) fn set_type(package: &mut CoreMlPackage, operation: &str, kind: &str) {
    package.edit_operation(operation, |operation| operation.set_text(field::TYPE, kind));
    if kind == SDPA {
        package.edit_operation(operation, |operation| operation.remove(field::INPUTS));
    }
}

pub(super) fn remove_operations(package: &mut CoreMlPackage, which: impl Fn(&str) -> bool) {
    package.edit_block(|block| {
        block.0.retain(|(number, field)| match field {
            Field::Bytes(bytes) if *number == field::OPERATIONS => {
                let output = Message::parse(bytes).and_then(|operation| operation.message(field::OUTPUTS));
                !output.is_some_and(|output| output.text(1).is_some_and(&which))
            }
            _ => true,
        });
    });
}

/// Changes the `TensorType` that is declared for an operation's output.
pub(super) fn edit_declared(package: &mut CoreMlPackage, operation: &str, change: impl FnOnce(&mut Message)) {
    package.edit_operation(operation, |operation| {
        operation.edit(field::OUTPUTS, |output| output.edit(2, |value_type| value_type.edit(1, change)));
    });
}

pub(super) fn set_extent(tensor: &mut Message, axis: usize, extent: u64) {
    let mut at = 0;
    tensor.edit_each(3, |dimension| {
        // With flexible lengths an extent is open and stays open.
        if at == axis && dimension.message(1).is_some() {
            dimension.edit(1, |constant| constant.set(1, Field::Varint(extent)));
        }
        at += 1;
    });
}

pub(super) fn set_extents(tensor: &mut Message, extents: &[u64]) {
    extents.iter().enumerate().for_each(|(axis, &extent)| set_extent(tensor, axis, extent));
}

/// Changes the `ArrayFeatureType` of the described input (1) or output (10).
pub(super) fn edit_feature(package: &mut CoreMlPackage, which: u64, change: impl FnOnce(&mut Message)) {
    package.model.edit(field::DESCRIPTION, |description| {
        description.edit(which, |feature| feature.edit(3, |feature_type| feature_type.edit(5, change)));
    });
}

pub(super) fn metadata(package: &CoreMlPackage, key: &str) -> String {
    let mut found = String::new();
    package.clone().model.edit(field::DESCRIPTION, |description| {
        description.edit(100, |metadata| {
            metadata.edit_each(100, |entry| {
                if entry.text(1) == Some(key) {
                    found = entry.text(2).unwrap().to_string();
                }
            });
        });
    });
    found
}

pub(super) fn set_metadata(package: &mut CoreMlPackage, key: &str, value: &str) {
    package.model.edit(field::DESCRIPTION, |description| {
        description.edit(100, |metadata| {
            metadata.edit_each(100, |entry| {
                if entry.text(1) == Some(key) {
                    entry.set_text(2, value);
                }
            });
        });
    });
}

pub(super) fn remove_item(package: &mut CoreMlPackage, name: &str) {
    package.manifest["itemInfoEntries"].as_object_mut().unwrap().retain(|_, item| item["name"] != name);
}

pub(super) fn rename_item(package: &mut CoreMlPackage, path: &str) {
    for item in package.manifest["itemInfoEntries"].as_object_mut().unwrap().values_mut() {
        if item["name"] == "model.mlmodel" {
            item["path"] = path.into();
        }
    }
}

/// The names of all constants in the blob file.
pub(super) fn weight_names(package: &mut CoreMlPackage) -> Vec<String> {
    let mut names = Vec::new();
    package.edit_operations(|operation| {
        let is_weight = operation.clone().0.iter().any(|(number, field)| match field {
            Field::Bytes(bytes) if *number == field::ATTRIBUTES => {
                let value = Message::parse(bytes).and_then(|entry| entry.message(2));
                value.is_some_and(|value| value.message(5).is_some())
            }
            _ => false,
        });
        if is_weight {
            names.push(operation.message(field::OUTPUTS).unwrap().text(1).unwrap().to_string());
        }
    });
    names
}
