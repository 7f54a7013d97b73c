//! The interpreter of a package's program, which runs it on any machine.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use super::ops::{self, Call};
use super::program::{Operation, Program};
use super::types::Element;
use super::value::Value;

/// Runs a program operation by operation, and checks each result against the type that the program declares.
///
/// Everything is computed in f32, including results that are declared fp16: this separates errors of the program from
/// the rounding of half precision. With `emulate_f16` each fp16 result is rounded to fp16.
pub(super) struct Interpreter {
    pub(super) program: Program,
    pub(super) device: Device,
    pub(super) emulate_f16: bool,
}

impl Interpreter {
    /// Runs the program on a clip and returns its outputs by name.
    ///
    /// # Errors
    /// A sentence that names the operation.
    pub(super) fn run(&self, input_values: &[f32]) -> Result<BTreeMap<String, Tensor>, String> {
        let (name, declared) = &self.program.input;
        let input = Tensor::from_slice(input_values, (1, input_values.len()), &self.device);
        let input = Value::Float(Element::F32, input.map_err(|e| e.to_string())?);
        input.check(declared).map_err(|e| format!("input `{name}`: {e}"))?;
        let mut values = BTreeMap::from([(name.as_str(), input)]);
        for operation in &self.program.operations {
            let result = self
                .compute(operation, &values)
                .map_err(|e| format!("operation `{}` ({}): {e}", operation.name, operation.kind))?;
            values.insert(&operation.name, result);
            for name in &operation.last_uses {
                values.remove(name.as_str());
            }
        }
        let outputs = self.program.outputs.iter().map(|output| match values.remove(output.as_str()) {
            Some(Value::Float(Element::F32, tensor)) => Ok((output.clone(), tensor)),
            Some(other) => Err(format!("output `{output}` is {}, expected fp32", other.type_of())),
            None => Err(format!("output `{output}` was not computed")),
        });
        outputs.collect()
    }

    fn compute(&self, operation: &Operation, values: &BTreeMap<&str, Value>) -> Result<Value, String> {
        let lookup = |name: &String| {
            let value = values.get(name.as_str()).or_else(|| self.program.constants.get(name));
            value.ok_or_else(|| format!("there is no value `{name}`"))
        };
        let mut arguments = BTreeMap::new();
        for (parameter, names) in &operation.arguments {
            let operands: Vec<&Value> = names.iter().map(lookup).collect::<Result<_, _>>()?;
            arguments.insert(parameter.as_str(), operands);
        }
        let call = Call::new(arguments, self.program.opset);
        let mut result = ops::compute(&operation.kind, &call)?;
        call.refuse_unused()?;
        result.check(&operation.declared)?;
        if let (true, Value::Float(Element::F16, tensor)) = (self.emulate_f16, &mut result) {
            let rounded = tensor.to_dtype(DType::F16).and_then(|rounded| rounded.to_dtype(DType::F32));
            *tensor = rounded.map_err(|e| e.to_string())?;
        }
        Ok(result)
    }
}
