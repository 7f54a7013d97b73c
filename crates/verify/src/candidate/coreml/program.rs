//! The program of a package, decoded, with resolved names and loaded constants: the `main` function of MIL
//! (<https://apple.github.io/coremltools/docs-guides/source/model-intermediate-language.html>).

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Device;
use prost::Message;

use super::blob::BlobFile;
use super::constexpr::{self, Weight};
use super::ops;
use super::proto::{self, Bound};
use super::types::Type;
use super::value::Value;
use crate::candidate::encoder_norm::EncoderNorm;

/// The function `main` with resolved names and loaded constants.
pub(super) struct Program {
    /// The operation set, from 5 for `CoreML5` (iOS 15) to 8 for `CoreML8` (iOS 18).
    pub(super) opset: u32,
    pub(super) input: (String, Type),
    pub(super) outputs: Vec<String>,
    pub(super) operations: Vec<Operation>,
    /// The constants, among them the weights that were compressed.
    pub(super) constants: BTreeMap<String, Value>,
    /// The form in which each compressed weight is stored, such as `int8 per channel`.
    pub(super) encodings: BTreeMap<String, String>,
}

/// An operation that computes a value. Operations of kind `const` are in [`Program::constants`].
pub(super) struct Operation {
    pub(super) kind: String,
    /// The name of its only output, which identifies it in errors.
    pub(super) name: String,
    pub(super) declared: Type,
    /// The names of its operands, by parameter.
    pub(super) arguments: BTreeMap<String, Vec<String>>,
    /// The names of the values that no later operation uses.
    pub(super) last_uses: Vec<String>,
}

impl Program {
    /// Decodes a program and checks all that can be checked without running it.
    pub(super) fn decode(
        bytes: &[u8],
        specification_version: i32,
        blobs: &mut BlobFile,
        device: &Device,
    ) -> Result<Self, String> {
        let program = proto::Program::decode(bytes).map_err(|e| format!("`mlProgram` cannot be decoded: {e}"))?;
        // Known fields have the same length when they are encoded again.
        if program.encoded_len() != bytes.len() {
            let unknown = bytes.len().abs_diff(program.encoded_len());
            return Err(format!("`mlProgram` has unsupported fields of {unknown} bytes"));
        }
        if program.version != 1 {
            return Err(format!("`mlProgram.version` is {}, expected 1", program.version));
        }
        let names: Vec<&str> = program.functions.keys().map(String::as_str).collect();
        let (["main"], Some(main)) = (&names[..], program.functions.get("main")) else {
            return Err(format!("`mlProgram.functions` are {names:?}, expected `main` alone"));
        };
        let opset = opset(main, specification_version)?;
        let input = input(main)?;
        let block = main.block_specializations.get(&main.opset).filter(|_| main.block_specializations.len() == 1);
        let block = block.ok_or_else(|| {
            let found: Vec<&String> = main.block_specializations.keys().collect();
            format!("function `main` has blocks for {found:?}, expected one for its operation set `{}`", main.opset)
        })?;
        if !block.inputs.is_empty() {
            return Err("the block of function `main` has inputs of its own".into());
        }

        let (mut constants, mut encodings) = (BTreeMap::new(), BTreeMap::new());
        let mut operations = Vec::new();
        let mut known: BTreeSet<&str> = BTreeSet::from([input.0.as_str()]);
        for operation in &block.operations {
            let at = |reason: String| format!("operation `{}` ({}): {reason}", name_of(operation), operation.r#type);
            let output = check_form(operation).map_err(at)?;
            if operation.r#type == "const" {
                constants.insert(output.name.clone(), constant(operation, output, blobs, device).map_err(at)?);
            } else if constexpr::is_compressed_weight(&operation.r#type) {
                let Weight { value, encoding } = constexpr::decompress(operation, opset, blobs, device).map_err(at)?;
                let declared = Type::decode(output.r#type.as_ref()).map_err(at)?;
                value.check(&declared).map_err(at)?;
                constants.insert(output.name.clone(), value);
                encodings.insert(output.name.clone(), encoding);
            } else {
                operations.push(compute(operation, output, &known, &mut constants, blobs, device).map_err(at)?);
            }
            if !known.insert(&output.name) {
                return Err(at("another value has this name".into()));
            }
        }
        blobs.finish()?;
        for output in &block.outputs {
            if !operations.iter().any(|operation: &Operation| operation.name == *output) {
                return Err(format!("the block's output `{output}` is computed by no operation"));
            }
        }
        let mut program = Program { opset, input, outputs: block.outputs.clone(), operations, constants, encodings };
        program.find_last_uses();
        Ok(program)
    }

    /// Reads the last `layer_norm`, which in a pre-LN model is the encoder's final one. Returns `None` if its gain and
    /// bias are not constants.
    pub(super) fn last_layer_norm(&self, eps: f64) -> Option<EncoderNorm> {
        let operation = self.operations.iter().rfind(|operation| operation.kind == "layer_norm")?;
        let values = |parameter: &str| match self.constants.get(operation.arguments.get(parameter)?.first()?)? {
            Value::Float(_, tensor) => tensor.to_vec1().ok(),
            _ => None,
        };
        Some(EncoderNorm { gain: values("gamma")?, bias: values("beta")?, eps })
    }

    /// The values of the weight of this name if it is compressed, row-major. Identifiers of MIL have no dots.
    pub(super) fn decompressed(&self, name: &str) -> Result<Option<Vec<f32>>, String> {
        let name = name.replace('.', "_");
        match self.constants.get(&name).filter(|_| self.encodings.contains_key(&name)) {
            Some(Value::Float(_, tensor)) => {
                let values = tensor.flatten_all().and_then(|flat| flat.to_vec1());
                values.map(Some).map_err(|e| format!("weight `{name}`: {e}"))
            }
            _ => Ok(None),
        }
    }

    fn find_last_uses(&mut self) {
        let mut needed: BTreeSet<String> = self.outputs.iter().chain(self.constants.keys()).cloned().collect();
        for operation in self.operations.iter_mut().rev() {
            for name in operation.arguments.values().flatten() {
                if needed.insert(name.clone()) {
                    operation.last_uses.push(name.clone());
                }
            }
        }
    }
}

fn opset(main: &proto::Function, specification_version: i32) -> Result<u32, String> {
    let expected = match specification_version {
        6..=9 => specification_version - 1,
        other => return Err(format!("`specificationVersion` is {other}, expected 6 to 9")),
    };
    if main.opset != format!("CoreML{expected}") {
        return Err(format!(
            "function `main` is in operation set `{}`, but `specificationVersion` {specification_version} goes with \
             `CoreML{expected}`",
            main.opset
        ));
    }
    Ok(expected.unsigned_abs())
}

fn input(main: &proto::Function) -> Result<(String, Type), String> {
    let [input] = &main.inputs[..] else {
        return Err(format!("function `main` has {} inputs, expected one", main.inputs.len()));
    };
    let declared = Type::decode(input.r#type.as_ref()).map_err(|e| format!("input `{}`: {e}", input.name))?;
    Ok((input.name.clone(), declared))
}

/// The name of an operation in errors.
fn name_of(operation: &proto::Operation) -> &str {
    operation.outputs.first().map_or("", |output| &output.name)
}

/// Checks the form that every operation must have: one named output, a name, no blocks.
fn check_form(operation: &proto::Operation) -> Result<&proto::NamedValueType, String> {
    let [output] = &operation.outputs[..] else {
        return Err(format!("it has {} outputs, expected one", operation.outputs.len()));
    };
    if !is_identifier(&output.name) {
        return Err("its output's name is not an identifier ([A-Za-z_][A-Za-z0-9_@]*)".into());
    }
    let is_constant = operation.r#type == "const" || constexpr::is_compressed_weight(&operation.r#type);
    if !is_constant && !ops::is_supported(&operation.r#type) {
        return Err("unsupported operation".into());
    }
    if !operation.blocks.is_empty() {
        return Err("it has blocks, which no supported operation has".into());
    }
    if operation.attributes.get("name").and_then(Value::decode_text).is_none_or(str::is_empty) {
        return Err("its attribute `name` is missing, which Core ML requires".into());
    }
    Ok(output)
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
}

fn constant(
    operation: &proto::Operation,
    output: &proto::NamedValueType,
    blobs: &mut BlobFile,
    device: &Device,
) -> Result<Value, String> {
    if !operation.inputs.is_empty() {
        return Err("it has inputs, but a constant has none".into());
    }
    let value = operation.attributes.get("val").ok_or("its attribute `val` is missing")?;
    let value = Value::decode(value, blobs, device)?;
    value.check(&Type::decode(output.r#type.as_ref())?)?;
    Ok(value)
}

/// Decodes an operation that computes a value. An argument may be given in place instead of by the name of a constant; it
/// becomes a constant under a name that is not an identifier and so cannot be taken.
fn compute(
    operation: &proto::Operation,
    output: &proto::NamedValueType,
    known: &BTreeSet<&str>,
    constants: &mut BTreeMap<String, Value>,
    blobs: &mut BlobFile,
    device: &Device,
) -> Result<Operation, String> {
    let mut arguments = BTreeMap::new();
    for (parameter, argument) in &operation.inputs {
        let mut names = Vec::new();
        for (i, binding) in argument.arguments.iter().enumerate() {
            let at = |reason: String| format!("parameter `{parameter}`: {reason}");
            match &binding.binding {
                Some(Bound::Name(name)) if known.contains(name.as_str()) => names.push(name.clone()),
                Some(Bound::Name(name)) => return Err(at(format!("no value `{name}` precedes it"))),
                Some(Bound::Value(value)) => {
                    let name = format!("{}.{parameter}.{i}", output.name);
                    constants.insert(name.clone(), Value::decode(value, blobs, device).map_err(at)?);
                    names.push(name);
                }
                None => return Err(at("its binding is empty".into())),
            }
        }
        arguments.insert(parameter.clone(), names);
    }
    Ok(Operation {
        kind: operation.r#type.clone(),
        name: output.name.clone(),
        declared: Type::decode(output.r#type.as_ref())?,
        arguments,
        last_uses: Vec::new(),
    })
}
