use std::collections::BTreeMap;

use half::f16;
use mert_arch::{Activation, Dtype};

use super::proto::{
    Argument, Binding, BlobFileValue, Block, Bools, Bytes, ConstantDimension, DataType, Dimension, DimensionKind,
    Floats, ImmediateValue, Ints, NamedValueType, Operation, Strings, TensorType, TensorValue, TensorValues,
    UnknownDimension, Value, ValueKind, ValueType,
};
use crate::Step;

/// The blob file as operations name it.
const BLOB_FILE: &str = "@model_path/weights/weight.bin";

/// An extent of a tensor: known, or known only when the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dim {
    Fixed(usize),
    Unknown,
}

/// The element types that the model computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F16,
    F32,
}

impl Float {
    fn data_type(self) -> DataType {
        match self {
            Float::F16 => DataType::Float16,
            Float::F32 => DataType::Float32,
        }
    }

    /// MIL's name for it, as `cast` takes it.
    fn name(self) -> &'static str {
        match self {
            Float::F16 => "fp16",
            Float::F32 => "fp32",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Float::F16 => Dtype::F16,
            Float::F32 => Dtype::F32,
        }
    }

    /// A number in this type, and the number that it is there.
    fn scalar(self, value: f64) -> (Constant, f64) {
        match self {
            Float::F16 => (Constant::F16(f16::from_f64(value)), f16::from_f64(value).to_f64()),
            Float::F32 => (Constant::F32(value as f32), f64::from(value as f32)),
        }
    }
}

/// A value of the program, to be handed to further operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) dtype: Float,
    pub(super) dims: Vec<Dim>,
}

/// A parameter that is known when the program is written.
enum Constant {
    Bool(bool),
    Int(i32),
    Ints(Vec<i32>),
    F16(f16),
    F32(f32),
    Text(&'static str),
}

impl Constant {
    fn value(self) -> Value {
        let (data_type, dims, value) = match self {
            Constant::Bool(value) => (DataType::Bool, vec![], TensorValues::Bools(Bools { values: vec![value] })),
            Constant::Int(value) => (DataType::Int32, vec![], TensorValues::Ints(Ints { values: vec![value] })),
            Constant::Ints(values) => {
                (DataType::Int32, vec![Dim::Fixed(values.len())], TensorValues::Ints(Ints { values }))
            }
            Constant::F32(value) => (DataType::Float32, vec![], TensorValues::Floats(Floats { values: vec![value] })),
            Constant::F16(value) => {
                (DataType::Float16, vec![], TensorValues::Bytes(Bytes { values: value.to_le_bytes().to_vec() }))
            }
            Constant::Text(text) => {
                (DataType::String, vec![], TensorValues::Strings(Strings { values: vec![text.into()] }))
            }
        };
        let tensor = Some(TensorValue { value: Some(value) });
        let value = Some(ValueKind::Immediate(ImmediateValue { tensor }));
        Value { r#type: Some(value_type(data_type, &dims)), value }
    }
}

/// What an operation is given.
enum Operand<'a> {
    Tensor(&'a Tensor),
    Tensors(&'a [Tensor]),
    Constant(Constant),
}

/// A convolution's parameters beside its weight.
pub(super) struct Conv<'a> {
    pub(super) bias: Option<&'a str>,
    pub(super) stride: usize,
    /// Zeros before and after.
    pub(super) pad: [usize; 2],
    pub(super) groups: usize,
}

/// A weight in the blob file.
#[derive(Debug, Clone)]
pub(super) struct Blob<'p> {
    pub(super) step: &'p Step,
    pub(super) stored: Dtype,
    /// Where its record starts.
    pub(super) record: usize,
}

/// Operations in the order in which they run.
///
/// Each method appends one operation, preceded by a `const` for each parameter, and gives the type of its
/// result, which the file must declare. Shapes are those of Apple's documentation of the iOS 15 operation set
/// (<https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html>). A weight is
/// named as in the checkpoint; a value is named after the module that computes it.
pub(super) struct Graph<'p> {
    operations: Vec<Operation>,
    steps: BTreeMap<&'p str, &'p Step>,
    blobs: Vec<Blob<'p>>,
    /// Where the next blob's record goes.
    blob_end: usize,
    /// The first number that the type it is needed in does not hold.
    unfaithful: Option<String>,
}

/// How far an epsilon may be from what it should be. It stands beside a variance, where a twentieth of it shows no
/// more than the rounding of what the variance is taken of.
const EPSILON_ERROR: f64 = 0.05;

/// How far a factor may be.
const FACTOR_ERROR: f64 = 1e-5;

impl<'p> Graph<'p> {
    /// An empty program over the plan's weights; `blob_start` is where the first of them may go.
    pub(super) fn new(steps: &'p [Step], blob_start: usize) -> Self {
        let steps = steps.iter().map(|step| (step.output.as_str(), step)).collect();
        Graph { operations: Vec::new(), steps, blobs: Vec::new(), blob_end: blob_start, unfaithful: None }
    }

    /// The program as a block that returns `outputs`, and the weights that it uses.
    ///
    /// # Errors
    /// A number that the type it is needed in does not hold.
    pub(super) fn finish(self, outputs: &[Tensor]) -> Result<(Block, Vec<Blob<'p>>), String> {
        if let Some(reason) = self.unfaithful {
            return Err(reason);
        }
        let outputs = outputs.iter().map(|output| output.name.clone()).collect();
        Ok((Block { outputs, operations: self.operations }, self.blobs))
    }

    fn demand(&mut self, at: &str, wanted: f64, held: f64, error: f64) {
        // Written so that an infinity, which differs by an infinity, fails.
        let faithful = (held - wanted).abs() <= error * wanted.abs();
        if !faithful {
            self.unfaithful
                .get_or_insert_with(|| format!("`{at}` needs {wanted:e}, of which half precision makes {held:e}"));
        }
    }

    fn epsilon<'a>(&mut self, module: &str, x: &Tensor, eps: f64) -> Operand<'a> {
        let (constant, held) = x.dtype.scalar(eps);
        self.demand(&format!("{module}'s epsilon"), eps, held, EPSILON_ERROR);
        Operand::Constant(constant)
    }

    pub(super) fn expand_dims(&mut self, at: &str, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims.insert(axis, Dim::Fixed(1));
        self.push("expand_dims", at, dims, x.dtype, [("x", Operand::Tensor(x)), ("axes", axes(&[axis]))])
    }

    pub(super) fn cast(&mut self, at: &str, x: &Tensor, to: Float) -> Tensor {
        if x.dtype == to {
            return x.clone();
        }
        let dtype = Operand::Constant(Constant::Text(to.name()));
        self.push("cast", at, x.dims.clone(), to, [("x", Operand::Tensor(x)), ("dtype", dtype)])
    }

    pub(super) fn transpose(&mut self, at: &str, x: &Tensor, perm: &[usize]) -> Tensor {
        let dims = perm.iter().map(|&axis| x.dims[axis]).collect();
        self.push("transpose", at, dims, x.dtype, [("x", Operand::Tensor(x)), ("perm", axes(perm))])
    }

    /// `dims` may have one unknown extent; the program works it out.
    pub(super) fn reshape(&mut self, at: &str, x: &Tensor, dims: Vec<Dim>) -> Tensor {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => *extent as i32,
            Dim::Unknown => -1,
        };
        let shape = Operand::Constant(Constant::Ints(dims.iter().map(extent).collect()));
        self.push("reshape", at, dims, x.dtype, [("x", Operand::Tensor(x)), ("shape", shape)])
    }

    /// `(1, in, frames)` to `(1, out, frames)`; the weight is `(out, in / groups, kernel)`.
    pub(super) fn conv(&mut self, at: &str, x: &Tensor, weight: &str, conv: &Conv<'_>) -> Tensor {
        let weight = self.weight(weight, x.dtype);
        let bias = conv.bias.map(|name| self.weight(name, x.dtype));
        let (out, kernel) = (weight.dims[0], weight.dims[2]);
        let frames = match (x.dims[2], kernel) {
            (Dim::Fixed(frames), Dim::Fixed(kernel)) => {
                Dim::Fixed((frames + conv.pad[0] + conv.pad[1] - kernel) / conv.stride + 1)
            }
            _ => Dim::Unknown,
        };
        let int = |value: usize| Constant::Int(value as i32);
        let pad_type = if conv.pad == [0, 0] { "valid" } else { "custom" };
        let mut inputs = vec![
            ("x", Operand::Tensor(x)),
            ("weight", Operand::Tensor(&weight)),
            ("strides", axes(&[conv.stride])),
            ("pad_type", Operand::Constant(Constant::Text(pad_type))),
            ("pad", axes(&conv.pad)),
            ("dilations", axes(&[1])),
            ("groups", Operand::Constant(int(conv.groups))),
        ];
        if let Some(bias) = &bias {
            inputs.insert(2, ("bias", Operand::Tensor(bias)));
        }
        self.push("conv", at, vec![x.dims[0], out, frames], x.dtype, inputs)
    }

    /// x·Wᵀ + b over the last axis, with the module's `weight` `(out, in)` and `bias`.
    pub(super) fn linear(&mut self, at: &str, x: &Tensor, module: &str) -> Tensor {
        let weight = self.weight(&format!("{module}.weight"), x.dtype);
        let bias = self.weight(&format!("{module}.bias"), x.dtype);
        let mut dims = x.dims.clone();
        if let Some(last) = dims.last_mut() {
            *last = weight.dims[0];
        }
        let inputs =
            [("x", Operand::Tensor(x)), ("weight", Operand::Tensor(&weight)), ("bias", Operand::Tensor(&bias))];
        self.push("linear", at, dims, x.dtype, inputs)
    }

    /// Normalises over the last axis, with the module's `weight` and `bias`.
    pub(super) fn layer_norm(&mut self, at: &str, x: &Tensor, module: &str, eps: f64) -> Tensor {
        let gamma = self.weight(&format!("{module}.weight"), x.dtype);
        let beta = self.weight(&format!("{module}.bias"), x.dtype);
        let inputs = [
            ("x", Operand::Tensor(x)),
            ("axes", Operand::Constant(Constant::Ints(vec![-1]))),
            ("gamma", Operand::Tensor(&gamma)),
            ("beta", Operand::Tensor(&beta)),
            ("epsilon", self.epsilon(module, x, eps)),
        ];
        self.push("layer_norm", at, x.dims.clone(), x.dtype, inputs)
    }

    /// Normalises each channel of `(1, channels, frames)` over its frames: a GroupNorm with one channel in each
    /// group.
    pub(super) fn instance_norm(&mut self, at: &str, x: &Tensor, module: &str, eps: f64) -> Tensor {
        let gamma = self.weight(&format!("{module}.weight"), x.dtype);
        let beta = self.weight(&format!("{module}.bias"), x.dtype);
        let inputs = [
            ("x", Operand::Tensor(x)),
            ("gamma", Operand::Tensor(&gamma)),
            ("beta", Operand::Tensor(&beta)),
            ("epsilon", self.epsilon(module, x, eps)),
        ];
        self.push("instance_norm", at, x.dims.clone(), x.dtype, inputs)
    }

    pub(super) fn activation(&mut self, at: &str, x: &Tensor, activation: Activation) -> Tensor {
        let mode = match activation {
            Activation::Gelu => "EXACT",
            Activation::GeluTanh => "TANH_APPROXIMATION",
            Activation::Relu => return self.push("relu", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x))]),
        };
        let mode = Operand::Constant(Constant::Text(mode));
        self.push("gelu", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("mode", mode)])
    }

    /// The sum of two values of the same shape.
    pub(super) fn add(&mut self, at: &str, x: &Tensor, y: &Tensor) -> Tensor {
        self.push("add", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("y", Operand::Tensor(y))])
    }

    /// x − y, where y has the extent 1 along some axes.
    pub(super) fn sub(&mut self, at: &str, x: &Tensor, y: &Tensor) -> Tensor {
        self.push("sub", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("y", Operand::Tensor(y))])
    }

    /// x times a number: nothing for 1, and two products where half precision cannot hold the number. A factor that
    /// is off by 2^-12 is off alike for a whole layer, which shows where the rounding of single weights averages out.
    pub(super) fn scale(&mut self, at: &str, x: &Tensor, factor: f64) -> Tensor {
        let factors = match x.dtype {
            _ if factor == 1.0 => vec![],
            Float::F32 => vec![factor],
            Float::F16 => f16_factors(factor),
        };
        let mut x = x.clone();
        let mut product = 1.0;
        for (i, &factor) in factors.iter().enumerate() {
            let name = if i == 0 { at.to_string() } else { format!("{at}.{i}") };
            let (y, held) = x.dtype.scalar(factor);
            product *= held;
            x = self.push(
                "mul",
                &name,
                x.dims.clone(),
                x.dtype,
                [("x", Operand::Tensor(&x)), ("y", Operand::Constant(y))],
            );
        }
        self.demand(at, factor, product, FACTOR_ERROR);
        x
    }

    /// x·y, or x·yᵀ, over the last two axes.
    pub(super) fn matmul(&mut self, at: &str, x: &Tensor, y: &Tensor, transpose_y: bool) -> Tensor {
        let rank = x.dims.len();
        let mut dims = x.dims.clone();
        dims[rank - 1] = y.dims[if transpose_y { rank - 2 } else { rank - 1 }];
        let flag = |value| Operand::Constant(Constant::Bool(value));
        let inputs = [
            ("x", Operand::Tensor(x)),
            ("y", Operand::Tensor(y)),
            ("transpose_x", flag(false)),
            ("transpose_y", flag(transpose_y)),
        ];
        self.push("matmul", at, dims, x.dtype, inputs)
    }

    /// Over the last axis.
    pub(super) fn softmax(&mut self, at: &str, x: &Tensor) -> Tensor {
        let axis = Operand::Constant(Constant::Int(-1));
        self.push("softmax", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("axis", axis)])
    }

    /// softmax(q·kᵀ / √head_dim)·v, one operation from iOS 18 on.
    pub(super) fn scaled_dot_product_attention(&mut self, at: &str, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let inputs = [("query", Operand::Tensor(q)), ("key", Operand::Tensor(k)), ("value", Operand::Tensor(v))];
        self.push("scaled_dot_product_attention", at, q.dims.clone(), q.dtype, inputs)
    }

    pub(super) fn reduce_max(&mut self, at: &str, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims[axis] = Dim::Fixed(1);
        self.push("reduce_max", at, dims, x.dtype, reduction(x, axis, true))
    }

    /// Takes the axis away.
    pub(super) fn reduce_mean(&mut self, at: &str, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims.remove(axis);
        self.push("reduce_mean", at, dims, x.dtype, reduction(x, axis, false))
    }

    /// The same value under another name.
    pub(super) fn identity(&mut self, at: &str, x: &Tensor) -> Tensor {
        self.push("identity", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x))])
    }

    /// Along the first axis; the values are alike but for that. There is at least one.
    pub(super) fn concat(&mut self, at: &str, values: &[Tensor]) -> Tensor {
        let mut dims = values[0].dims.clone();
        let rows: Option<usize> =
            values.iter().map(|x| if let Dim::Fixed(n) = x.dims[0] { Some(n) } else { None }).sum();
        dims[0] = rows.map_or(Dim::Unknown, Dim::Fixed);
        let inputs = [
            ("values", Operand::Tensors(values)),
            ("axis", Operand::Constant(Constant::Int(0))),
            ("interleave", Operand::Constant(Constant::Bool(false))),
        ];
        self.push("concat", at, dims, values[0].dtype, inputs)
    }

    /// A weight of the checkpoint, in the blob file.
    ///
    /// Where the model computes in f32 although its weights are f16, the f16 values are stored in f32: the
    /// package has the weights of an f16 file of the same checkpoint, to the bit.
    fn weight(&mut self, name: &str, dtype: Float) -> Tensor {
        let step = self.steps[name];
        let dims: Vec<Dim> = step.shape.iter().copied().map(Dim::Fixed).collect();
        let blob = Blob { step, stored: dtype.dtype(), record: self.blob_end };
        self.blob_end = blob.end();
        let file = BlobFileValue { file_name: BLOB_FILE.into(), offset: blob.record as u64 };
        self.blobs.push(blob);
        let value_type = value_type(dtype.data_type(), &dims);
        let value = Value { r#type: Some(value_type.clone()), value: Some(ValueKind::BlobFile(file)) };
        let name = identifier(name);
        self.constant(&name, value_type, value);
        Tensor { name, dtype, dims }
    }

    fn constant(&mut self, name: &str, r#type: ValueType, value: Value) {
        let mut attributes = name_attribute(name);
        attributes.insert("val".into(), value);
        self.operations.push(Operation {
            r#type: "const".into(),
            inputs: BTreeMap::new(),
            outputs: vec![NamedValueType { name: name.into(), r#type: Some(r#type) }],
            attributes,
        });
    }

    fn push<'a>(
        &mut self,
        operation: &str,
        at: &str,
        dims: Vec<Dim>,
        dtype: Float,
        operands: impl IntoIterator<Item = (&'static str, Operand<'a>)>,
    ) -> Tensor {
        let name = identifier(at);
        let mut inputs = BTreeMap::new();
        for (parameter, operand) in operands {
            let names = match operand {
                Operand::Tensor(tensor) => vec![tensor.name.clone()],
                Operand::Tensors(tensors) => tensors.iter().map(|tensor| tensor.name.clone()).collect(),
                Operand::Constant(constant) => {
                    let (name, value) = (format!("{name}_{parameter}"), constant.value());
                    self.constant(&name, value.r#type.clone().unwrap_or_default(), value);
                    vec![name]
                }
            };
            let arguments = names.into_iter().map(|name| Binding { name: Some(name) }).collect();
            inputs.insert(parameter.to_string(), Argument { arguments });
        }
        let tensor = Tensor { name, dtype, dims };
        self.operations.push(Operation {
            r#type: operation.into(),
            inputs,
            outputs: vec![tensor.named_type()],
            attributes: name_attribute(&tensor.name),
        });
        tensor
    }
}

impl Tensor {
    /// How the file declares it.
    pub(super) fn named_type(&self) -> NamedValueType {
        NamedValueType { name: self.name.clone(), r#type: Some(value_type(self.dtype.data_type(), &self.dims)) }
    }
}

fn axes<'a>(values: &[usize]) -> Operand<'a> {
    Operand::Constant(Constant::Ints(values.iter().map(|&value| value as i32).collect()))
}

fn reduction(x: &Tensor, axis: usize, keep_dims: bool) -> [(&'static str, Operand<'_>); 3] {
    [("x", Operand::Tensor(x)), ("axes", axes(&[axis])), ("keep_dims", Operand::Constant(Constant::Bool(keep_dims)))]
}

fn value_type(data_type: DataType, dims: &[Dim]) -> ValueType {
    let dimension = |dim: &Dim| {
        let kind = match dim {
            Dim::Fixed(size) => DimensionKind::Constant(ConstantDimension { size: *size as u64 }),
            Dim::Unknown => DimensionKind::Unknown(UnknownDimension { variadic: false }),
        };
        Dimension { dimension: Some(kind) }
    };
    let dimensions: Vec<_> = dims.iter().map(dimension).collect();
    let tensor_type = TensorType { data_type: data_type.into(), rank: dims.len() as i64, dimensions };
    ValueType { tensor_type: Some(tensor_type) }
}

/// Core ML demands a name of every operation.
fn name_attribute(name: &str) -> BTreeMap<String, Value> {
    let values = TensorValues::Strings(Strings { values: vec![name.to_string()] });
    let tensor = Some(TensorValue { value: Some(values) });
    let value = Some(ValueKind::Immediate(ImmediateValue { tensor }));
    BTreeMap::from([("name".to_string(), Value { r#type: Some(value_type(DataType::String, &[])), value })])
}

/// MIL's identifiers have no dots.
fn identifier(path: &str) -> String {
    path.replace('.', "_")
}

/// One half-precision number that is `factor`, or the two whose product is nearest to it: 2^-20 off, not 2^-12.
fn f16_factors(factor: f64) -> Vec<f64> {
    let rounded = |value: f64| f16::from_f64(value).to_f64();
    if rounded(factor) == factor {
        return vec![factor];
    }
    // From 1 to 2 every significand with its best partner; the power of two is shared, so that neither is so small
    // that it has fewer bits.
    let exponent = factor.abs().log2().floor() as i32;
    let significand = factor / 2f64.powi(exponent);
    let pairs = (0..1024).map(|i| 1.0 + f64::from(i) / 1024.0).map(|a| (a, rounded(significand / a)));
    let error = |&(a, b): &(f64, f64)| (a * b - significand).abs();
    let best = pairs.min_by(|x, y| error(x).total_cmp(&error(y)));
    let (half, rest) = (exponent / 2, exponent - exponent / 2);
    best.map_or_else(|| vec![factor], |(a, b)| vec![a * 2f64.powi(half), b * 2f64.powi(rest)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_half_factors_are_as_good_as_one_of_twenty_bits() {
        assert_eq!(f16_factors(0.125), [0.125]);
        for factor in [80f64.powf(-0.5), 24f64.powf(0.25), 96f64.powf(-0.5) / 24.0, 24.1, 0.1, 1.1e-6, 70_000.1] {
            let factors = f16_factors(factor);
            assert_eq!(factors.len(), 2);
            assert!(factors.iter().all(|&x| f16::from_f64(x).to_f64() == x), "{factors:?}");
            approx::assert_relative_eq!(factors.iter().product::<f64>(), factor, max_relative = 2f64.powi(-19));
        }
    }
}
