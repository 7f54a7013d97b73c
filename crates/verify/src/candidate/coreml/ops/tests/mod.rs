//! Tests of each operation against its definition in f64, on values without a pattern that an indexing mistake could
//! preserve. `integers.rs` has those on int32.

mod integers;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};

use super::{Call, compute};
use crate::candidate::coreml::types::Element;
use crate::candidate::coreml::value::Value;

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn float(dims: &[usize], seed: usize) -> Value {
    let values = numbers(dims.iter().product(), seed);
    Value::Float(Element::F16, Tensor::from_vec(values, dims, &Device::Cpu).unwrap())
}

fn ints(values: &[i32]) -> Value {
    Value::Ints(values.to_vec(), vec![values.len()])
}

fn int(value: i32) -> Value {
    Value::Ints(vec![value], vec![])
}

fn flag(value: bool) -> Value {
    Value::Bools(vec![value], vec![])
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn scalar(value: f32) -> Value {
    Value::Float(Element::F16, Tensor::new(value, &Device::Cpu).unwrap())
}

fn run(kind: &str, operands: &[(&str, &Value)]) -> Result<Value, String> {
    let arguments: BTreeMap<&str, Vec<&Value>> = operands.iter().map(|(name, value)| (*name, vec![*value])).collect();
    let call = Call::new(arguments, 8);
    let result = compute(kind, &call)?;
    call.refuse_unused()?;
    Ok(result)
}

/// The values of a float, in f64.
fn values(value: &Value) -> Vec<f64> {
    match value {
        Value::Float(_, tensor) => {
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
        }
        other => panic!("{} is not a float", other.type_of()),
    }
}

#[track_caller]
fn check(kind: &str, operands: &[(&str, &Value)], dims: &[usize], expected: impl Fn(&[usize]) -> f64) {
    let result = run(kind, operands).unwrap();
    assert_eq!((result.element(), result.dims()), (Element::F16, dims), "{kind}");
    for (flat, found) in values(&result).into_iter().enumerate() {
        let mut rest = flat;
        let mut index = vec![0; dims.len()];
        for (at, extent) in index.iter_mut().zip(dims).rev() {
            *at = rest % extent;
            rest /= extent;
        }
        approx::assert_abs_diff_eq!(found, expected(&index), epsilon = 2e-5);
    }
}

#[test]
fn conv() {
    let (input, output, kernel, frames) = (6, 4, 3, 17);
    for (stride, [before, after], dilation, groups) in
        [(1, [0, 0], 1, 1), (2, [0, 0], 1, 2), (1, [2, 1], 1, 2), (3, [1, 4], 2, 1)]
    {
        let x = float(&[1, input, frames], 1);
        let w = float(&[output, input / groups, kernel], 2);
        let b = float(&[output], 3);
        let pad_type = text(if before + after == 0 { "valid" } else { "custom" });
        let pad = ints(&[before as i32, after as i32]);
        let (strides, dilations, groups_value) = (ints(&[stride as i32]), ints(&[dilation as i32]), int(groups as i32));
        let operands = [
            ("x", &x),
            ("weight", &w),
            ("bias", &b),
            ("pad_type", &pad_type),
            ("pad", &pad),
            ("strides", &strides),
            ("dilations", &dilations),
            ("groups", &groups_value),
        ];
        let length = (frames + before + after - dilation * (kernel - 1) - 1) / stride + 1;
        let (x, w, b) = (values(&x), values(&w), values(&b));
        check("conv", &operands, &[1, output, length], |at| {
            let group = at[1] / (output / groups);
            let mut sum = b[at[1]];
            for channel in 0..input / groups {
                for tap in 0..kernel {
                    let position = (at[2] * stride + tap * dilation).checked_sub(before).filter(|&t| t < frames);
                    let source = |t: usize| x[(group * (input / groups) + channel) * frames + t];
                    sum += w[(at[1] * (input / groups) + channel) * kernel + tap] * position.map_or(0.0, source);
                }
            }
            sum
        });
    }
}

#[test]
fn conv_refuses_invalid_parameters() {
    let (x, w) = (float(&[1, 6, 17], 1), float(&[4, 6, 3], 2));
    let custom = text("custom");
    for (pad, word) in [([i32::MAX, 0], "reaches"), ([-1, 0], "do not go together")] {
        let error = run("conv", &[("x", &x), ("weight", &w), ("pad_type", &custom), ("pad", &ints(&pad))]).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    for (parameter, value) in
        [("strides", ints(&[0])), ("dilations", ints(&[-1])), ("groups", int(0)), ("groups", int(4))]
    {
        assert!(run("conv", &[("x", &x), ("weight", &w), (parameter, &value)]).is_err(), "{parameter}");
    }
    assert!(run("conv", &[("x", &x), ("weight", &float(&[4, 6], 2))]).is_err());
}

#[test]
fn linear_and_matmul() {
    let (x, w, b) = (float(&[1, 5, 7], 1), float(&[3, 7], 2), float(&[3], 3));
    let (xs, ws, bs) = (values(&x), values(&w), values(&b));
    check("linear", &[("x", &x), ("weight", &w), ("bias", &b)], &[1, 5, 3], |at| {
        (0..7).map(|k| xs[at[1] * 7 + k] * ws[at[2] * 7 + k]).sum::<f64>() + bs[at[2]]
    });
    let y = float(&[1, 4, 7], 4);
    let ys = values(&y);
    check("matmul", &[("x", &x), ("y", &y), ("transpose_y", &flag(true))], &[1, 5, 4], |at| {
        (0..7).map(|k| xs[at[1] * 7 + k] * ys[at[2] * 7 + k]).sum()
    });
    let y = float(&[1, 5, 4], 4);
    let ys = values(&y);
    check("matmul", &[("x", &x), ("y", &y), ("transpose_x", &flag(true))], &[1, 7, 4], |at| {
        (0..5).map(|k| xs[k * 7 + at[1]] * ys[k * 4 + at[2]]).sum()
    });
    // A result that does not fit in memory is refused before it is computed.
    let long = float(&[1, 70_000, 1], 1);
    let outer = run("matmul", &[("x", &long), ("y", &long), ("transpose_y", &flag(true))]);
    assert!(outer.unwrap_err().contains("does not fit in memory"));
    let (row, column) = (float(&[1, 70_000], 1), float(&[70_000, 1], 1));
    assert!(run("add", &[("x", &row), ("y", &column)]).unwrap_err().contains("neither"));
    for kind in ["matmul", "linear"] {
        let (y, weight) = (("y", &x), ("weight", &w));
        let operands = [("x", &scalar(1.0)), if kind == "matmul" { y } else { weight }];
        assert!(run(kind, &operands).unwrap_err().contains("two axes"), "{kind}");
    }
    // A bias of one value would fit any width.
    assert!(run("linear", &[("x", &x), ("weight", &w), ("bias", &float(&[1], 3))]).is_err());
    assert!(run("linear", &[("x", &x), ("weight", &float(&[3, 6], 2))]).is_err());
}

#[test]
fn norms() {
    let (x, gamma, beta, epsilon) = (float(&[1, 3, 8], 1), float(&[8], 2), float(&[8], 3), scalar(1e-2));
    let (xs, gammas, betas) = (values(&x), values(&gamma), values(&beta));
    let normalised = |row: &[f64], value: f64| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
        (value - mean) / (variance + 1e-2).sqrt()
    };
    let operands = [("x", &x), ("axes", &ints(&[-1])), ("gamma", &gamma), ("beta", &beta), ("epsilon", &epsilon)];
    check("layer_norm", &operands, &[1, 3, 8], |at| {
        let row = &xs[at[1] * 8..][..8];
        normalised(row, row[at[2]]) * gammas[at[2]] + betas[at[2]]
    });
    let (gamma, beta) = (float(&[3], 2), float(&[3], 3));
    let (gammas, betas) = (values(&gamma), values(&beta));
    let operands = [("x", &x), ("gamma", &gamma), ("beta", &beta), ("epsilon", &epsilon)];
    check("instance_norm", &operands, &[1, 3, 8], |at| {
        let row = &xs[at[1] * 8..][..8];
        normalised(row, row[at[2]]) * gammas[at[1]] + betas[at[1]]
    });
    let (mean, variance) = (float(&[3], 6), run("square", &[("x", &float(&[3], 7))]).unwrap());
    let (means, variances) = (values(&mean), values(&variance));
    let operands = [
        ("x", &x),
        ("mean", &mean),
        ("variance", &variance),
        ("gamma", &gamma),
        ("beta", &beta),
        ("epsilon", &epsilon),
    ];
    check("batch_norm", &operands, &[1, 3, 8], |at| {
        let normalised = (xs[at[1] * 8 + at[2]] - means[at[1]]) / (variances[at[1]] + 1e-2).sqrt();
        normalised * gammas[at[1]] + betas[at[1]]
    });
    check("batch_norm", &operands[..3], &[1, 3, 8], |at| {
        (xs[at[1] * 8 + at[2]] - means[at[1]]) / (variances[at[1]] + 1e-5).sqrt()
    });
    // Without gain and bias.
    check("layer_norm", &[("x", &x), ("axes", &ints(&[-1])), ("epsilon", &epsilon)], &[1, 3, 8], |at| {
        let row = &xs[at[1] * 8..][..8];
        normalised(row, row[at[2]])
    });
    let one = float(&[1], 6);
    for (mean, variance) in [(&one, &variance), (&mean, &one)] {
        let error = run("batch_norm", &[("x", &x), ("mean", mean), ("variance", variance)]).unwrap_err();
        assert!(error.contains("for 3 channels"), "{error}");
    }
    assert!(
        run("batch_norm", &[("x", &one), ("mean", &one), ("variance", &one)]).unwrap_err().contains("expected (batch")
    );
    assert!(run("batch_norm", &[("x", &x), ("mean", &mean)]).unwrap_err().contains("`variance` is missing"));
    for axes in [&[1][..], &[], &[1, 2]] {
        assert!(run("layer_norm", &[("x", &x), ("axes", &ints(axes))]).is_err());
        assert!(run("layer_norm", &[("x", &scalar(1.0)), ("axes", &ints(axes))]).is_err());
    }
    assert!(run("instance_norm", &[("x", &x), ("gamma", &float(&[8], 2))]).is_err());
}

#[test]
fn attention_is_softmax_over_keys_as_one_operation_or_several() {
    let (heads, frames, width) = (2, 5, 4);
    let [q, k, v] = [1, 2, 3].map(|seed| float(&[1, heads, frames, width], seed));
    let [qs, ks, vs] = [&q, &k, &v].map(values);
    let with_bias = |at: &[usize], bias: &dyn Fn(usize) -> f64| {
        let row = |values: &[f64], t: usize| values[(at[1] * frames + t) * width..][..width].to_vec();
        let dot = |s: usize| row(&qs, at[2]).iter().zip(row(&ks, s)).map(|(a, b)| a * b).sum::<f64>();
        let logits: Vec<f64> = (0..frames).map(|s| dot(s) / (width as f64).sqrt() + bias(s)).collect();
        let total: f64 = logits.iter().map(|z| z.exp()).sum();
        (0..frames).map(|s| logits[s].exp() / total * row(&vs, s)[at[3]]).sum()
    };
    let expected = |at: &[usize]| with_bias(at, &|_| 0.0);
    let dims = [1, heads, frames, width];
    const SDPA: &str = "scaled_dot_product_attention";
    check(SDPA, &[("query", &q), ("key", &k), ("value", &v)], &dims, expected);
    let mask = float(&[heads, frames, frames], 4);
    let masks = values(&mask);
    let operands = [("query", &q), ("key", &k), ("value", &v), ("attn_mask", &mask)];
    check(SDPA, &operands, &dims, |at| with_bias(at, &|s| masks[(at[1] * frames + at[2]) * frames + s]));
    for (mask, word) in [
        (float(&[heads, frames, 2], 4), "broadcast"),
        (float(&[3, heads, frames, frames], 4), "does not go with"),
        (Value::Bools(vec![true; frames], vec![frames]), "expected fp16"),
    ] {
        let error = run(SDPA, &[("query", &q), ("key", &k), ("value", &v), ("attn_mask", &mask)]).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    let scaled = run("mul", &[("x", &q), ("y", &scalar(0.5))]).unwrap();
    let logits = run("matmul", &[("x", &scaled), ("y", &k), ("transpose_y", &flag(true))]).unwrap();
    let max = run("reduce_max", &[("x", &logits), ("axes", &ints(&[-1])), ("keep_dims", &flag(true))]).unwrap();
    let centred = run("sub", &[("x", &logits), ("y", &max)]).unwrap();
    let weights = run("softmax", &[("x", &centred), ("axis", &int(-1))]).unwrap();
    check("matmul", &[("x", &weights), ("y", &v)], &dims, expected);
}

#[test]
fn elementwise() {
    let (x, y) = (float(&[2, 3], 1), float(&[3], 5));
    let (xs, ys) = (values(&x), values(&y));
    let at_x = |at: &[usize]| xs[at[0] * 3 + at[1]];
    check("add", &[("x", &x), ("y", &y)], &[2, 3], |at| at_x(at) + ys[at[1]]);
    check("sub", &[("x", &x), ("y", &y)], &[2, 3], |at| at_x(at) - ys[at[1]]);
    check("mul", &[("x", &x), ("y", &y)], &[2, 3], |at| at_x(at) * ys[at[1]]);
    let square = run("square", &[("x", &x)]).unwrap();
    check("sqrt", &[("x", &square)], &[2, 3], |at| at_x(at).abs());
    check("real_div", &[("x", &x), ("y", &scalar(0.5))], &[2, 3], |at| at_x(at) / 0.5);
    check("relu", &[("x", &x)], &[2, 3], |at| at_x(at).max(0.0));
    check("sigmoid", &[("x", &x)], &[2, 3], |at| 1.0 / (1.0 + (-at_x(at)).exp()));
    let far = Value::Float(Element::F16, Tensor::new(&[-1e4f32, 1e4], &Device::Cpu).unwrap());
    check("sigmoid", &[("x", &far)], &[2], |at| at[0] as f64);
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let tanh = |x: f64| 0.5 * x * (1.0 + (root * (x + 0.044_715 * x.powi(3))).tanh());
    check("gelu", &[("x", &x), ("mode", &text("TANH_APPROXIMATION"))], &[2, 3], |at| tanh(at_x(at)));
    // x·Φ(x): Φ(1) and Φ(−1) from a table of the normal distribution.
    let ones = Value::Float(Element::F16, Tensor::new(&[1.0f32, -1.0], &Device::Cpu).unwrap());
    for operands in [&[("x", &ones)][..], &[("x", &ones), ("mode", &text("EXACT"))]] {
        check("gelu", operands, &[2], |at| [0.841_344_746, -0.158_655_254][at[0]]);
    }
}

#[test]
fn shapes() {
    let x = float(&[2, 3, 4], 1);
    let xs = values(&x);
    let flat = |i: usize, j: usize, k: usize| xs[(i * 3 + j) * 4 + k];
    check("transpose", &[("x", &x), ("perm", &ints(&[-1, 0, 1]))], &[4, 2, 3], |at| flat(at[1], at[2], at[0]));
    check("reshape", &[("x", &x), ("shape", &ints(&[0, -1, 2]))], &[2, 6, 2], |at| xs[(at[0] * 6 + at[1]) * 2 + at[2]]);
    check("expand_dims", &[("x", &x), ("axes", &ints(&[1]))], &[2, 1, 3, 4], |at| flat(at[0], at[2], at[3]));
    let means = |at: &[usize]| {
        (0..3).flat_map(|j| (0..4).map(move |k| (j, k))).map(|(j, k)| flat(at[0], j, k)).sum::<f64>() / 12.0
    };
    check("reduce_mean", &[("x", &x), ("axes", &ints(&[1, -1]))], &[2], means);
    let operands = [("x", &x), ("axes", &ints(&[1, 2])), ("keep_dims", &flag(true))];
    check("reduce_mean", &operands, &[2, 1, 1], means);
    check("reduce_sum", &operands, &[2, 1, 1], |at| 12.0 * means(at));
    let (begin, end) = (ints(&[0, 1, -3]), ints(&[9, 3, -1]));
    let mask = Value::Bools(vec![true, false, false], vec![3]);
    let operands = [("x", &x), ("begin", &begin), ("end", &end), ("end_mask", &mask)];
    check("slice_by_index", &operands, &[2, 2, 2], |at| flat(at[0], at[1] + 1, at[2] + 1));
    let y = float(&[1, 3, 4], 2);
    let ys = values(&y);
    let arguments = BTreeMap::from([("values", vec![&x, &y]), ("axis", vec![])]);
    assert!(compute("concat", &Call::new(arguments, 8)).is_err());
    let axis = int(0);
    let arguments = BTreeMap::from([("values", vec![&x, &y]), ("axis", vec![&axis])]);
    let joined = compute("concat", &Call::new(arguments, 8)).unwrap();
    assert_eq!(values(&joined), [xs.clone(), ys].concat());
    check("identity", &[("x", &x)], &[2, 3, 4], |at| flat(at[0], at[1], at[2]));
    let cast = run("cast", &[("x", &x), ("dtype", &text("fp32"))]).unwrap();
    assert_eq!((cast.element(), values(&cast)), (Element::F32, xs.clone()));
    for (kind, parameter, wrong) in [
        ("reshape", "shape", &[5, -1][..]),
        ("reshape", "shape", &[-1, -1]),
        ("reshape", "shape", &[i32::MAX, i32::MAX, i32::MAX]),
        ("transpose", "perm", &[0, 1]),
        ("transpose", "perm", &[0, 1, 3]),
        ("expand_dims", "axes", &[9]),
        ("reduce_mean", "axes", &[-4]),
    ] {
        assert!(run(kind, &[("x", &x), (parameter, &ints(wrong))]).is_err(), "{kind} {wrong:?}");
    }
}
