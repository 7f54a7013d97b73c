//! An editor of Core ML packages.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::protobuf::{Field, Message};

/// The contents of a Core ML package, which can be changed and written again.
#[derive(Debug, Clone)]
pub struct CoreMlPackage {
    /// The content of `Manifest.json`.
    pub manifest: serde_json::Value,
    /// The content of `model.mlmodel`.
    pub model: Message,
    /// The content of `weight.bin`.
    pub weights: Vec<u8>,
}

const MANIFEST: &str = "Manifest.json";
const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

/// The numbers of the fields that tests change, from Apple's `Model.proto` and `MIL.proto`.
pub mod field {
    /// `Model.description`.
    pub const DESCRIPTION: u64 = 2;
    /// `Model.mlProgram`.
    pub const ML_PROGRAM: u64 = 502;
    /// `Program.functions`.
    pub const FUNCTIONS: u64 = 2;
    /// `Function.block_specializations`.
    pub const BLOCKS: u64 = 3;
    /// `Block.operations`.
    pub const OPERATIONS: u64 = 3;
    /// `Operation.type`.
    pub const TYPE: u64 = 1;
    /// `Operation.inputs`.
    pub const INPUTS: u64 = 2;
    /// `Operation.outputs`.
    pub const OUTPUTS: u64 = 3;
    /// `Operation.attributes`.
    pub const ATTRIBUTES: u64 = 5;
}

impl CoreMlPackage {
    /// Reads a package.
    ///
    /// # Errors
    /// If the folder is not a package.
    pub fn read(path: &Path) -> io::Result<Self> {
        let model = Message::parse(&fs::read(path.join(MODEL))?).ok_or_else(|| io::Error::other("not protobuf"))?;
        let manifest = serde_json::from_slice(&fs::read(path.join(MANIFEST))?)?;
        Ok(CoreMlPackage { manifest, model, weights: fs::read(path.join(WEIGHTS))? })
    }

    /// Writes the package and replaces anything at the path.
    ///
    /// # Errors
    /// The operating system's.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let _ = fs::remove_dir_all(path);
        fs::create_dir_all(path.join(WEIGHTS).with_file_name(""))?;
        fs::write(path.join(MANIFEST), self.manifest.to_string())?;
        fs::write(path.join(MODEL), self.model.encode())?;
        fs::write(path.join(WEIGHTS), &self.weights)
    }

    /// Changes the function `main`.
    pub fn edit_main(&mut self, change: impl FnOnce(&mut Message)) {
        self.model.edit(field::ML_PROGRAM, |program| program.edit_entry(field::FUNCTIONS, "main", change));
    }

    /// Changes the only block of the function `main`.
    pub fn edit_block(&mut self, change: impl FnOnce(&mut Message)) {
        self.edit_main(|main| main.edit(field::BLOCKS, |entry| entry.edit(2, change)));
    }

    /// The operation whose output has this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn operation(&mut self, name: &str) -> Message {
        let mut found = None;
        self.edit_operation(name, |operation| found = Some(operation.clone()));
        found.unwrap_or_else(|| panic!("no operation `{name}`"))
    }

    /// Changes the operation whose output has this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn edit_operation(&mut self, name: &str, change: impl FnOnce(&mut Message)) {
        let mut change = Some(change);
        self.edit_operations(|operation| {
            if output_name(operation).as_deref() == Some(name)
                && let Some(change) = change.take()
            {
                change(operation);
            }
        });
        assert!(change.is_none(), "no operation `{name}`");
    }

    /// Changes each operation.
    pub fn edit_operations(&mut self, change: impl FnMut(&mut Message)) {
        self.edit_block(|block| block.edit_each(field::OPERATIONS, change));
    }

    /// Binds a parameter of an operation to other values.
    pub fn bind(&mut self, operation: &str, parameter: &str, values: &[&str]) {
        self.edit_operation(operation, |operation| {
            operation.edit_entry(field::INPUTS, parameter, |argument| {
                let binding = |value: &&str| {
                    let name = Message(vec![(1, Field::Bytes(value.as_bytes().to_vec()))]);
                    (1, Field::Bytes(name.encode()))
                };
                argument.0 = values.iter().map(binding).collect();
            });
        });
    }

    /// Changes the `TensorValue` of an inline constant.
    pub fn edit_constant(&mut self, name: &str, change: impl FnOnce(&mut Message)) {
        self.edit_value(name, |value| value.edit(3, |immediate| immediate.edit(1, change)));
    }

    /// Replaces the numbers or the text of a constant.
    pub fn set_constant(&mut self, name: &str, values: Field) {
        self.edit_constant(name, |tensor| {
            let kind = tensor.0[0].0;
            tensor.edit(kind, |list| list.0 = vec![(1, values)]);
        });
    }

    /// Changes the `Value` of a constant.
    pub fn edit_value(&mut self, name: &str, change: impl FnOnce(&mut Message)) {
        self.edit_operation(name, |operation| operation.edit_entry(field::ATTRIBUTES, "val", change));
    }

    /// Changes the `Value` of a parameter of a compressed weight: an attribute, or an argument in place.
    ///
    /// # Panics
    /// If the weight has no such parameter.
    pub fn edit_parameter(&mut self, weight: &str, parameter: &str, change: impl FnOnce(&mut Message)) {
        self.edit_operation(weight, |operation| {
            // The attributes of a compressed weight for iOS 18 are its name alone.
            if operation.0.iter().any(|(number, _)| *number == field::INPUTS) {
                operation.edit_entry(field::INPUTS, parameter, |argument| {
                    argument.edit(1, |binding| binding.edit(2, change));
                });
            } else {
                operation.edit_entry(field::ATTRIBUTES, parameter, change);
            }
        });
    }

    /// The position of the record of a parameter of a compressed weight.
    ///
    /// # Panics
    /// If it is not in the blob file.
    pub fn parameter_record(&mut self, weight: &str, parameter: &str) -> usize {
        let mut offset = None;
        self.edit_parameter(weight, parameter, |value| offset = value.message(5).and_then(|blob| varint_of(&blob, 2)));
        offset.unwrap_or_else(|| panic!("`{parameter}` of `{weight}` is not in the blob file")) as usize
    }

    /// The range of a parameter's bytes in [`CoreMlPackage::weights`].
    pub fn parameter_data(&mut self, weight: &str, parameter: &str) -> Range<usize> {
        let record = self.parameter_record(weight, parameter);
        self.data_at(record)
    }

    /// The position of a weight's record in [`CoreMlPackage::weights`].
    ///
    /// # Panics
    /// If it is not a constant in the blob file.
    pub fn record(&mut self, name: &str) -> usize {
        let mut offset = None;
        self.edit_value(name, |value| offset = value.message(5).and_then(|blob| varint_of(&blob, 2)));
        offset.unwrap_or_else(|| panic!("`{name}` is not in the blob file")) as usize
    }

    /// Points a weight to another record.
    pub fn set_record(&mut self, name: &str, offset: usize) {
        self.edit_value(name, |value| value.edit(5, |blob| blob.set(2, Field::Varint(offset as u64))));
    }

    /// The range of a weight's bytes in [`CoreMlPackage::weights`].
    pub fn data(&mut self, name: &str) -> Range<usize> {
        let record = self.record(name);
        self.data_at(record)
    }

    fn data_at(&self, record: usize) -> Range<usize> {
        let size = self.weights[record + 8..].first_chunk().map_or(0, |&bytes| u64::from_le_bytes(bytes));
        record + 64..record + 64 + size as usize
    }
}

fn output_name(operation: &Message) -> Option<String> {
    Some(operation.message(field::OUTPUTS)?.text(1)?.to_string())
}

fn varint_of(message: &Message, number: u64) -> Option<u64> {
    message.0.iter().find_map(|(found, value)| match value {
        Field::Varint(value) if *found == number => Some(*value),
        _ => None,
    })
}
