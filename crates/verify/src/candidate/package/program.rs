//! A package's program, decoded, with resolved names and loaded constants.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Device;
use prost::Message;

use super::blob::BlobFile;
use super::ops;
use super::proto::{self, Bound};
use super::types::Type;
use super::value::Value;
use crate::ClosingNorm;

/// The function `main`, its names resolved and its constants loaded.
pub(super) struct Program {
    /// 5 to 8: the operation set is `CoreML5` to `CoreML8`.
    pub(super) opset: u32,
    pub(super) input: (String, Type),
    pub(super) outputs: Vec<String>,
    pub(super) operations: Vec<Operation>,
    pub(super) constants: BTreeMap<String, Value>,
}

/// An operation that computes something; `const` ones are [`Program::constants`].
pub(super) struct Operation {
    pub(super) kind: String,
    /// The name of its only output, under which errors speak of it.
    pub(super) name: String,
    pub(super) declared: Type,
    /// The names of its operands, by parameter.
    pub(super) arguments: BTreeMap<String, Vec<String>>,
    /// The values that no later operation needs.
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
        // Every field that is known is encoded again at the same length.
        if program.encoded_len() != bytes.len() {
            let unknown = bytes.len().abs_diff(program.encoded_len());
            return Err(format!("`mlProgram` has fields of {unknown} bytes that are not known here"));
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

        let mut constants = BTreeMap::new();
        let mut operations = Vec::new();
        let mut known: BTreeSet<&str> = BTreeSet::from([input.0.as_str()]);
        for operation in &block.operations {
            let at = |reason: String| format!("operation `{}` ({}): {reason}", name_of(operation), operation.r#type);
            let output = check_form(operation).map_err(at)?;
            if operation.r#type == "const" {
                constants.insert(output.name.clone(), constant(operation, output, blobs, device).map_err(at)?);
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
        let mut program = Program { opset, input, outputs: block.outputs.clone(), operations, constants };
        program.find_last_uses();
        Ok(program)
    }

    /// The last `layer_norm`. In a pre-LN model, whose layers begin with theirs, it is the encoder's final one. `None`
    /// if its gain and bias are not constants.
    pub(super) fn last_layer_norm(&self, eps: f64) -> Option<ClosingNorm> {
        let operation = self.operations.iter().rfind(|operation| operation.kind == "layer_norm")?;
        let values = |parameter: &str| match self.constants.get(operation.arguments.get(parameter)?.first()?)? {
            Value::Float(_, tensor) => tensor.to_vec1().ok(),
            _ => None,
        };
        Some(ClosingNorm { gain: values("gamma")?, bias: values("beta")?, eps })
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

/// A name for errors.
fn name_of(operation: &proto::Operation) -> &str {
    operation.outputs.first().map_or("", |output| &output.name)
}

/// What holds for every operation: one named output, a name, no blocks.
fn check_form(operation: &proto::Operation) -> Result<&proto::NamedValueType, String> {
    let [output] = &operation.outputs[..] else {
        return Err(format!("it has {} outputs, expected one", operation.outputs.len()));
    };
    if !is_identifier(&output.name) {
        return Err("its output's name is not an identifier ([A-Za-z_][A-Za-z0-9_@]*)".into());
    }
    if operation.r#type.starts_with("constexpr_") {
        return Err("compressed weights are not read here; on a Mac --engine coreml runs them".into());
    }
    if operation.r#type != "const" && !ops::is_known(&operation.r#type) {
        return Err("no operation of this kind is known here".into());
    }
    if !operation.blocks.is_empty() {
        return Err("it has blocks, which no operation that is read here has".into());
    }
    if operation.attributes.get("name").and_then(Value::decode_text).is_none_or(str::is_empty) {
        return Err("its attribute `name` is missing, without which Core ML refuses it".into());
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

/// An argument may be given in place instead of by the name of a constant; it becomes a constant of its own, under
/// a name that no identifier can have.
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
                None => return Err(at("it is bound to nothing".into())),
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
