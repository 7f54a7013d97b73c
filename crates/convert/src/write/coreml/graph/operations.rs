//! The operations of MIL that the encoder needs.

use mert_arch::Activation;

use super::Graph;
use super::half_factors::half_factors;
use super::values::{Constant, Dim, Float, Operand, Tensor};

/// The parameters of a convolution apart from its weight.
pub(in crate::write::coreml) struct Conv<'a> {
    pub(in crate::write::coreml) bias: Option<&'a str>,
    pub(in crate::write::coreml) stride: usize,
    /// The number of zeros before and after the frames.
    pub(in crate::write::coreml) pad: [usize; 2],
    pub(in crate::write::coreml) groups: usize,
}

/// The tolerance for a rounded epsilon. It is added to a variance, where a twentieth of it matters no more than the rounding
/// of the values of the variance.
const EPSILON_TOLERANCE: f64 = 0.05;

/// The tolerance for a rounded factor.
const FACTOR_TOLERANCE: f64 = 1e-5;

impl Graph<'_> {
    /// Records a number whose rounded value is off by more than the relative `tolerance`.
    fn check_rounding(&mut self, at: &str, exact: f64, rounded: f64, tolerance: f64) {
        // Written so that an infinity, which differs by an infinity, fails.
        let is_close = (rounded - exact).abs() <= tolerance * exact.abs();
        if !is_close {
            self.fault.get_or_insert_with(|| {
                format!("`{at}` needs {exact:e}, which half precision rounds to {rounded:e}; use --dtype f32")
            });
        }
    }

    /// The epsilon of a module's norm, in the type of its input.
    fn epsilon<'a>(&mut self, module: &str, x: &Tensor, eps: f64) -> Operand<'a> {
        let (constant, rounded) = x.dtype.scalar(eps);
        self.check_rounding(&format!("{module}'s epsilon"), eps, rounded, EPSILON_TOLERANCE);
        Operand::Constant(constant)
    }

    /// `x` with a new axis of extent 1.
    pub(in crate::write::coreml) fn expand_dims(&mut self, at: &str, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims.insert(axis, Dim::Fixed(1));
        self.push("expand_dims", at, dims, x.dtype, [("x", Operand::Tensor(x)), ("axes", axes(&[axis]))])
    }

    /// `x` in another element type.
    pub(in crate::write::coreml) fn cast(&mut self, at: &str, x: &Tensor, to: Float) -> Tensor {
        if x.dtype == to {
            return x.clone();
        }
        let dtype = Operand::Constant(Constant::Text(to.name()));
        self.push("cast", at, x.dims.clone(), to, [("x", Operand::Tensor(x)), ("dtype", dtype)])
    }

    /// `x` with its axes permuted.
    pub(in crate::write::coreml) fn transpose(&mut self, at: &str, x: &Tensor, perm: &[usize]) -> Tensor {
        let dims = perm.iter().map(|&axis| x.dims[axis]).collect();
        self.push("transpose", at, dims, x.dtype, [("x", Operand::Tensor(x)), ("perm", axes(perm))])
    }

    /// `x` with other extents, of which one may be unknown: Core ML infers it.
    pub(in crate::write::coreml) fn reshape(&mut self, at: &str, x: &Tensor, dims: Vec<Dim>) -> Tensor {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => *extent as i32,
            Dim::Unknown => -1,
        };
        let shape = Operand::Constant(Constant::Ints(dims.iter().map(extent).collect()));
        self.push("reshape", at, dims, x.dtype, [("x", Operand::Tensor(x)), ("shape", shape)])
    }

    /// A convolution from `(1, in, frames)` to `(1, out, frames)`; the weight is `(out, in / groups, kernel)`.
    pub(in crate::write::coreml) fn conv(&mut self, at: &str, x: &Tensor, weight: &str, conv: &Conv<'_>) -> Tensor {
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

    /// The linear layer x·Wᵀ + b over the last axis, with the module's `weight` `(out, in)` and `bias`.
    pub(in crate::write::coreml) fn linear(&mut self, at: &str, x: &Tensor, module: &str) -> Tensor {
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

    /// A layer norm over the last axis, with the module's `weight` and `bias`.
    pub(in crate::write::coreml) fn layer_norm(&mut self, at: &str, x: &Tensor, module: &str, eps: f64) -> Tensor {
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

    /// A layer norm over the last axis without gain and bias.
    pub(in crate::write::coreml) fn plain_layer_norm(&mut self, at: &str, x: &Tensor, eps: f64) -> Tensor {
        let inputs = [
            ("x", Operand::Tensor(x)),
            ("axes", Operand::Constant(Constant::Ints(vec![-1]))),
            ("epsilon", self.epsilon(at, x, eps)),
        ];
        self.push("layer_norm", at, x.dims.clone(), x.dtype, inputs)
    }

    /// A batch norm of `(1, channels, frames)` with the module's running statistics.
    pub(in crate::write::coreml) fn batch_norm(&mut self, at: &str, x: &Tensor, module: &str, eps: f64) -> Tensor {
        let [mean, variance, gamma, beta] = ["running_mean", "running_var", "weight", "bias"]
            .map(|name| self.weight(&format!("{module}.{name}"), x.dtype));
        let inputs = [
            ("x", Operand::Tensor(x)),
            ("mean", Operand::Tensor(&mean)),
            ("variance", Operand::Tensor(&variance)),
            ("gamma", Operand::Tensor(&gamma)),
            ("beta", Operand::Tensor(&beta)),
            ("epsilon", self.epsilon(module, x, eps)),
        ];
        self.push("batch_norm", at, x.dims.clone(), x.dtype, inputs)
    }

    /// A norm of each channel of `(1, channels, frames)` over its frames: a GroupNorm with one channel in each group.
    pub(in crate::write::coreml) fn instance_norm(&mut self, at: &str, x: &Tensor, module: &str, eps: f64) -> Tensor {
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

    /// An activation function.
    pub(in crate::write::coreml) fn activation(&mut self, at: &str, x: &Tensor, activation: Activation) -> Tensor {
        let mode = match activation {
            Activation::Gelu => "EXACT",
            Activation::GeluTanh => "TANH_APPROXIMATION",
            Activation::Relu => return self.push("relu", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x))]),
        };
        let mode = Operand::Constant(Constant::Text(mode));
        self.push("gelu", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("mode", mode)])
    }

    /// The logistic function.
    pub(in crate::write::coreml) fn sigmoid(&mut self, at: &str, x: &Tensor) -> Tensor {
        self.push("sigmoid", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x))])
    }

    /// The sum of two values of the same shape.
    pub(in crate::write::coreml) fn add(&mut self, at: &str, x: &Tensor, y: &Tensor) -> Tensor {
        self.push("add", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("y", Operand::Tensor(y))])
    }

    /// The difference x − y, where y has the extent 1 along some axes.
    pub(in crate::write::coreml) fn sub(&mut self, at: &str, x: &Tensor, y: &Tensor) -> Tensor {
        self.push("sub", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("y", Operand::Tensor(y))])
    }

    /// The product x·y, where y has the extent 1 along some axes.
    pub(in crate::write::coreml) fn mul(&mut self, at: &str, x: &Tensor, y: &Tensor) -> Tensor {
        self.push("mul", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("y", Operand::Tensor(y))])
    }

    /// The product of x and a weight, which has the extent 1 along some axes.
    pub(in crate::write::coreml) fn mul_weight(&mut self, at: &str, x: &Tensor, weight: &str) -> Tensor {
        let weight = self.weight(weight, x.dtype);
        self.mul(at, x, &weight)
    }

    /// The sum of x and a number.
    pub(in crate::write::coreml) fn add_number(&mut self, at: &str, x: &Tensor, number: f64) -> Tensor {
        let (y, rounded) = x.dtype.scalar(number);
        self.check_rounding(at, number, rounded, FACTOR_TOLERANCE);
        self.push("add", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("y", Operand::Constant(y))])
    }

    /// The product of x and a number: no operation for 1, and two products where half precision cannot represent the number.
    /// A factor with an error of 2^-12 has the same error for a whole layer, which matters where the rounding of single
    /// weights averages out.
    pub(in crate::write::coreml) fn scale(&mut self, at: &str, x: &Tensor, factor: f64) -> Tensor {
        let factors = match x.dtype {
            _ if factor == 1.0 => vec![],
            Float::F32 => vec![factor],
            Float::F16 => half_factors(factor),
        };
        let mut x = x.clone();
        let mut product = 1.0;
        for (i, &factor) in factors.iter().enumerate() {
            let name = if i == 0 { at.to_string() } else { format!("{at}.{i}") };
            let (y, rounded) = x.dtype.scalar(factor);
            product *= rounded;
            x = self.push(
                "mul",
                &name,
                x.dims.clone(),
                x.dtype,
                [("x", Operand::Tensor(&x)), ("y", Operand::Constant(y))],
            );
        }
        self.check_rounding(at, factor, product, FACTOR_TOLERANCE);
        x
    }

    /// The matrix product x·y, or x·yᵀ, over the last two axes.
    pub(in crate::write::coreml) fn matmul(&mut self, at: &str, x: &Tensor, y: &Tensor, transpose_y: bool) -> Tensor {
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

    /// The softmax over the last axis.
    pub(in crate::write::coreml) fn softmax(&mut self, at: &str, x: &Tensor) -> Tensor {
        let axis = Operand::Constant(Constant::Int(-1));
        self.push("softmax", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x)), ("axis", axis)])
    }

    /// Attention, softmax(q·kᵀ / √head_dim + bias)·v, as one operation; from iOS 18 on.
    pub(in crate::write::coreml) fn scaled_dot_product_attention(
        &mut self,
        at: &str,
        [q, k, v]: [&Tensor; 3],
        bias: Option<&Tensor>,
    ) -> Tensor {
        let mut inputs =
            vec![("query", Operand::Tensor(q)), ("key", Operand::Tensor(k)), ("value", Operand::Tensor(v))];
        inputs.extend(bias.map(|bias| ("attn_mask", Operand::Tensor(bias))));
        self.push("scaled_dot_product_attention", at, q.dims.clone(), q.dtype, inputs)
    }

    /// Row `i` of x along its first axis, which stays with extent 1.
    pub(in crate::write::coreml) fn row(&mut self, at: &str, x: &Tensor, i: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims[0] = Dim::Fixed(1);
        let bounds = |first: usize| (0..x.dims.len()).map(|axis| if axis == 0 { first } else { 0 }).collect::<Vec<_>>();
        let to_the_end = (0..x.dims.len()).map(|axis| axis > 0).collect();
        let inputs = [
            ("x", Operand::Tensor(x)),
            ("begin", axes(&bounds(i))),
            ("end", axes(&bounds(i + 1))),
            ("end_mask", Operand::Constant(Constant::Bools(to_the_end))),
        ];
        self.push("slice_by_index", at, dims, x.dtype, inputs)
    }

    /// The sum over an axis, which is removed.
    pub(in crate::write::coreml) fn reduce_sum(&mut self, at: &str, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims.remove(axis);
        self.push("reduce_sum", at, dims, x.dtype, reduction(x, axis, false))
    }

    /// The maximum over an axis, which stays with extent 1.
    pub(in crate::write::coreml) fn reduce_max(&mut self, at: &str, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims[axis] = Dim::Fixed(1);
        self.push("reduce_max", at, dims, x.dtype, reduction(x, axis, true))
    }

    /// The mean over an axis, which is removed.
    pub(in crate::write::coreml) fn reduce_mean(&mut self, at: &str, x: &Tensor, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims.remove(axis);
        self.push("reduce_mean", at, dims, x.dtype, reduction(x, axis, false))
    }

    /// The value under another name.
    pub(in crate::write::coreml) fn identity(&mut self, at: &str, x: &Tensor) -> Tensor {
        self.push("identity", at, x.dims.clone(), x.dtype, [("x", Operand::Tensor(x))])
    }

    /// The concatenation along the first axis of at least one value; the other axes are equal.
    pub(in crate::write::coreml) fn concat(&mut self, at: &str, values: &[Tensor]) -> Tensor {
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
}

/// Axes or extents as a constant.
fn axes<'a>(values: &[usize]) -> Operand<'a> {
    Operand::Constant(Constant::Ints(values.iter().map(|&value| value as i32).collect()))
}

/// The arguments of a reduction over one axis.
fn reduction(x: &Tensor, axis: usize, keep_dims: bool) -> [(&'static str, Operand<'_>); 3] {
    [("x", Operand::Tensor(x)), ("axes", axes(&[axis])), ("keep_dims", Operand::Constant(Constant::Bool(keep_dims)))]
}
