//! Checkpoints in double precision: each value is rounded once, to nearest even, directly to the output's type.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use mert_testkit::{Tensor, fixture, runner, sharp_checkpoint, write_torch_zip_f64};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::scratch::{Scratch, tiny};

const POS_CONV: &str = "encoder.pos_conv_embed.conv";

fn tensors() -> Vec<(String, Tensor)> {
    sharp_checkpoint(&tiny(), 1)
}

/// Values that two roundings get wrong, cyclically: near a tie of f16, near one of bf16, and with all bits set.
fn wide(tensor: &Tensor) -> Vec<f64> {
    let nudge = 1.0 + 2f64.powi(-45);
    let value = |(i, &value): (usize, &f32)| {
        let value = f64::from(value);
        match i % 4 {
            0 => f64::from_bits(value.to_bits() >> 42 << 42 | 1 << 41) * nudge,
            1 => f64::from_bits(value.to_bits() >> 45 << 45 | 1 << 44) / nudge,
            2 => f64::from_bits(value.to_bits() >> 42 << 42 | 1 << 41),
            _ => value * (1.0 + 1.0 / 3.0 * 2f64.powi(-20)),
        }
    };
    tensor.values.iter().enumerate().map(value).collect()
}

/// Round to nearest even by definition: `p` bits of precision, smallest normal exponent `emin`.
fn nearest_even(value: f64, p: i32, emin: i32) -> f64 {
    if value == 0.0 {
        return value;
    }
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(emin);
    let ulp = 2f64.powi(exponent - p + 1);
    (value / ulp).round_ties_even() * ulp
}

fn convert(scratch: &Scratch, input: &Path, dtype: &str) -> BTreeMap<String, Vec<f64>> {
    let output = scratch.path("out.safetensors");
    let mut command = runner::command("mert-convert");
    command.arg(input).arg(&output).args(["--dtype", dtype, "--layout", "candle", "--force"]).assert().success();
    let bytes = std::fs::read(&output).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |tensor: TensorView<'_>| -> Vec<f64> {
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F16 => data.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f64()).collect(),
            Dtype::BF16 => data.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f64()).collect(),
            _ => data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        }
    };
    file.iter().map(|(name, tensor)| (name.to_string(), values(tensor))).collect()
}

/// The output's values before rounding; for weight norm g · v / ‖v‖ per tap.
fn exact(values: &BTreeMap<String, (Vec<usize>, Vec<f64>)>) -> BTreeMap<String, Vec<f64>> {
    let mut exact: BTreeMap<String, Vec<f64>> =
        values.iter().map(|(name, (_, values))| (name.clone(), values.clone())).collect();
    exact.remove("masked_spec_embed");
    let g = exact.remove(&format!("{POS_CONV}.weight_g")).unwrap();
    let v = exact.remove(&format!("{POS_CONV}.weight_v")).unwrap();
    let taps = g.len();
    let norm = |tap: usize| v.iter().skip(tap).step_by(taps).map(|v| v * v).sum::<f64>().sqrt();
    let scale: Vec<f64> = (0..taps).map(|tap| g[tap] / norm(tap)).collect();
    let weight = v.iter().enumerate().map(|(i, v)| v * scale[i % taps]).collect();
    exact.insert(format!("{POS_CONV}.weight"), weight);
    exact
}

type Values = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// Writes the checkpoint in a torch container and in safetensors.
fn checkpoints(scratch: &Scratch, values: &Values, is_wide: impl Fn(&str) -> bool) -> [PathBuf; 2] {
    let torch = scratch.path("checkpoint.bin");
    let narrow: Vec<(String, Tensor)> = values
        .iter()
        .map(|(name, (shape, values))| {
            let values = values.iter().map(|&value| value as f32).collect();
            (name.clone(), Tensor { shape: shape.clone(), values })
        })
        .collect();
    write_torch_zip_f64(&torch, &narrow, |name| is_wide(name).then(|| values[name].1.clone())).unwrap();
    let bytes: BTreeMap<&String, Vec<u8>> = values
        .iter()
        .map(|(name, (_, values))| {
            let wide = || values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let narrow = || values.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
            (name, if is_wide(name) { wide() } else { narrow() })
        })
        .collect();
    let views = values.iter().map(|(name, (shape, _))| {
        let dtype = if is_wide(name) { Dtype::F64 } else { Dtype::F32 };
        (name.clone(), TensorView::new(dtype, shape.clone(), &bytes[name]).unwrap())
    });
    let file = scratch.path("model.safetensors");
    std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
    std::fs::copy(fixture("containers/config.json"), scratch.path("config.json")).unwrap();
    [torch, file]
}

#[test]
fn every_value_is_rounded_once() {
    let scratch = Scratch::new();
    let values: Values = tensors().into_iter().map(|(name, t)| (name, (t.shape.clone(), wide(&t)))).collect();
    let exact = exact(&values);
    for input in checkpoints(&scratch, &values, |_| true) {
        for (dtype, p, emin) in [("f16", 11, -14), ("bf16", 8, -126), ("f32", 24, -126)] {
            let found = convert(&scratch, &input, dtype);
            assert_eq!(found.len(), exact.len());
            let mut twice = 0;
            for (name, exact) in &exact {
                for (i, (&found, &exact)) in found[name].iter().zip(exact).enumerate() {
                    let once = nearest_even(exact, p, emin);
                    assert_eq!(found, once, "{name}[{i}] of {} to {dtype}: {exact:e}", input.display());
                    twice += usize::from(nearest_even(f64::from(exact as f32), p, emin) != once);
                }
            }
            assert!(dtype == "f32" || twice > 1000, "only {twice} values show the difference");
        }
    }
}

#[test]
fn one_tensor_of_many() {
    let scratch = Scratch::new();
    let plain = |(name, t): (String, Tensor)| {
        let values = t.values.iter().map(|&value| f64::from(value)).collect();
        (name, (t.shape.clone(), values))
    };
    let mut values: Values = tensors().into_iter().map(plain).collect();
    for name in ["encoder.layer_norm.bias", "encoder.pos_conv_embed.conv.weight_g"] {
        values.get_mut(name).unwrap().1.iter_mut().for_each(|value| *value *= 1.0 + 2f64.powi(-30));
        let exact = exact(&values);
        for input in checkpoints(&scratch, &values, |other| other == name) {
            let found = convert(&scratch, &input, "f16");
            for (name, exact) in &exact {
                let rounded: Vec<f64> = exact.iter().map(|&value| nearest_even(value, 11, -14)).collect();
                assert_eq!(&found[name], &rounded, "{name}");
            }
        }
        let value = values.get_mut(name).unwrap();
        value.1.iter_mut().for_each(|value| *value = f64::from(*value as f32));
    }
}

#[test]
fn overflows_and_nan_are_named() {
    for (value, dtype, words) in [
        (1e300, "f32", &["1e300", "overflows f32", "encoder.layer_norm.bias"][..]),
        (-1e300, "f16", &["-1e300", "overflows f16", "--dtype bf16"]),
        (65519.999, "bf16", &[]),
        (65520.0, "f16", &["6.552e4", "overflows f16"]),
        (f64::NAN, "f16", &["NaN", "encoder.layer_norm.bias"]),
        (f64::INFINITY, "f32", &["inf", "encoder.layer_norm.bias"]),
    ] {
        let scratch = Scratch::new();
        let mut values: Values = tensors().into_iter().map(|(name, t)| (name, (t.shape.clone(), wide(&t)))).collect();
        values.get_mut("encoder.layer_norm.bias").unwrap().1[3] = value;
        let inputs = checkpoints(&scratch, &values, |_| true);
        match words {
            [] => drop(convert(&scratch, &inputs[0], dtype)),
            words => scratch.refused(&inputs[0], &["--dtype", dtype], words),
        }
    }
}
