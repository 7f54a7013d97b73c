//! Products of every encoding against f64, on every instruction set, and the defects that the bound must catch.

mod support;

use half::{bf16, f16};
use mert_arch::{Dtype, Encoding};
use mert_linear::Linear;
use mert_simd::Isa;
use support::{Weight, affine, encodings, numbers};

/// The result of a product on an instruction set.
fn forward(linear: &Linear, isa: Isa, x: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len() / linear.inputs() * linear.outputs()];
    linear.clone().with_isa(isa).forward(x, &mut y);
    y
}

fn shapes(encoding: Encoding) -> Vec<(usize, usize)> {
    match encoding {
        Encoding::Float(_) => vec![(1, 1), (5, 37), (70, 1000), (3, 64)],
        Encoding::Quantized { quantization, .. } => {
            let group = quantization.group_size;
            vec![(1, group), (7, 3 * group), (70, 1152), (70, 1280)]
        }
    }
}

#[test]
fn products_agree_with_f64() {
    for encoding in encodings() {
        for (outputs, inputs) in shapes(encoding) {
            let weight = Weight::new(outputs, inputs, encoding);
            let linear = weight.linear();
            for rows in [1, 2, 3, 4, 5, 17] {
                let x = numbers(rows * inputs, 7);
                for isa in Isa::available() {
                    let error = weight.worst(&forward(&linear, isa, &x), &x, isa);
                    assert!(error <= 1.0, "{encoding:?} ({outputs}, {inputs}), {rows} rows, {isa:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn many_rows_agree_with_f64() {
    let encodings = [affine(4, 64, Dtype::F16), affine(5, 32, Dtype::F32), Encoding::Float(Dtype::Bf16)];
    for (encoding, (outputs, inputs)) in encodings.into_iter().flat_map(|e| [(e, (97, 1664)), (e, (144, 768))]) {
        let weight = Weight::new(outputs, inputs, encoding);
        let x = numbers(251 * inputs, 3);
        for isa in Isa::available() {
            let error = weight.worst(&forward(&weight.linear(), isa, &x), &x, isa);
            assert!(error <= 1.0, "{encoding:?} ({outputs}, {inputs}), {isa:?}: {error}");
        }
    }
}

/// Activations whose groups have large sums, where s·Σ q·x and b·Σ x cancel.
#[test]
fn terms_that_cancel_stay_within_the_bound() {
    for encoding in [affine(4, 64, Dtype::F16), affine(8, 32, Dtype::F32), affine(3, 128, Dtype::Bf16)] {
        let weight = Weight::new(40, 1152, encoding);
        let x: Vec<f32> = numbers(2 * 1152, 5).into_iter().map(|x| 50.0 + x).collect();
        for isa in Isa::available() {
            let error = weight.worst(&forward(&weight.linear(), isa, &x), &x, isa);
            assert!(error <= 1.0, "{encoding:?}, {isa:?}: {error}");
        }
    }
}

/// Activations without a finite value give none, and tiny ones give what is next to nothing.
#[test]
fn activations_out_of_range() {
    for encoding in [affine(4, 32, Dtype::F16), affine(8, 64, Dtype::F16), Encoding::Float(Dtype::F32)] {
        let weight = Weight::new(6, 320, encoding);
        for isa in Isa::available() {
            for value in [f32::NAN, f32::INFINITY] {
                let mut x = numbers(320, 5);
                x[200] = value;
                let y = forward(&weight.linear(), isa, &x);
                assert!(y.iter().all(|y| !y.is_finite()), "{encoding:?} {isa:?} {value}: {y:?}");
            }
            for tiny in [0.0, 1e-40, 1e-33] {
                let y = forward(&weight.linear(), isa, &vec![tiny; 640]);
                assert!(y.iter().all(|y| y.abs() < 1e-28), "{encoding:?} {isa:?} {tiny}: {y:?}");
            }
        }
    }
}

/// One activation that is far larger than the others: those of other blocks keep their digits.
#[test]
fn outliers_cost_others_no_digits() {
    let encoding = affine(4, 64, Dtype::F16);
    let weight = Weight::new(40, 1024, encoding);
    let mut x = numbers(1024, 19);
    x[100] = 1e4;
    let mut rest = x.clone();
    rest[..256].fill(0.0);
    for isa in Isa::available() {
        let linear = weight.linear();
        let (all, without) = (forward(&linear, isa, &x), forward(&linear, isa, &rest));
        assert!(weight.worst(&all, &x, isa) <= 1.0, "{isa:?}");
        assert!(weight.worst(&without, &rest, isa) <= 1.0, "{isa:?}");
    }
}

#[test]
fn bytes_need_no_alignment() {
    for encoding in encodings() {
        let weight = Weight::new(9, 384, encoding);
        for rows in [2, 6] {
            let x = numbers(rows * 384, 9);
            for isa in Isa::available() {
                let aligned = forward(&weight.linear(), isa, &x);
                for offset in 1..4 {
                    let linear = weight.linear_at(offset);
                    assert_eq!(forward(&linear, isa, &x), aligned, "{encoding:?} {isa:?} at {offset}");
                    let (mut row, mut moved) = (vec![0.0; 384], vec![0.0; 384]);
                    weight.linear().row(3, &mut row);
                    linear.row(3, &mut moved);
                    assert_eq!(row, moved);
                }
            }
        }
    }
}

#[test]
fn rows_have_the_decoded_values() {
    for encoding in encodings() {
        let weight = Weight::new(5, 384, encoding);
        let mut row = vec![0.0; 384];
        weight.linear().row(4, &mut row);
        for (found, expected) in row.iter().zip(weight.row(4)) {
            // Scale·code and the sum are rounded once each.
            assert!((f64::from(*found) - expected).abs() <= 2.4e-7, "{encoding:?}: {found}, expected {expected}");
        }
    }
}

#[test]
fn bias_and_addition() {
    for (encoding, rows) in
        [affine(4, 64, Dtype::F16), Encoding::Float(Dtype::F32)].into_iter().flat_map(|e| [(e, 2), (e, 9)])
    {
        let weight = Weight::new(37, 128, encoding);
        let x = numbers(rows * 128, 11);
        for isa in Isa::available() {
            let linear = weight.linear().with_isa(isa);
            let bias = numbers(37, 12);
            let mut plain = vec![0.0; rows * 37];
            linear.forward(&x, &mut plain);
            let linear = linear.with_bias(bias.clone()).unwrap();
            let (mut with_bias, mut added) = (vec![f32::NAN; rows * 37], vec![100.0; rows * 37]);
            linear.forward(&x, &mut with_bias);
            linear.forward_add(&x, &mut added);
            for i in 0..rows * 37 {
                assert!((with_bias[i] - (plain[i] + bias[i % 37])).abs() < 1e-4, "{encoding:?} {isa:?}");
                assert!((added[i] - (100.0 + with_bias[i])).abs() < 1e-4, "{encoding:?} {isa:?}");
            }
        }
    }
}

/// Each output has the same bits for any number of threads, rows of activations, and weights in one pass.
#[test]
fn results_do_not_depend_on_threads() {
    let pools = [1, 2, 3].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    let encodings =
        [affine(4, 64, Dtype::F16), affine(8, 64, Dtype::Bf16), affine(6, 32, Dtype::F32), Encoding::Float(Dtype::F16)];
    for encoding in encodings {
        let weights = [1000, 403, 64].map(|outputs| Weight::new(outputs, 1536, encoding).linear());
        let other = Weight::new(77, 1536, affine(5, 64, Dtype::F16)).linear();
        let parts = [&weights[0], &weights[1], &weights[2], &other];
        for rows in [1, 2, 3, 4, 17] {
            let x = numbers(rows * 1536, 13);
            let all = |pool: &rayon::ThreadPool| {
                let mut outs = parts.map(|part| vec![0.0; rows * part.outputs()]);
                pool.install(|| Linear::forward_all(&parts, &x, &mut outs.each_mut().map(|out| &mut out[..])));
                outs
            };
            let [one, two, three] = [0, 1, 2].map(|i| all(&pools[i]));
            assert!(one == two && one == three, "{encoding:?} {rows} rows");
            for (part, together) in parts.iter().zip(&one) {
                assert_eq!(forward(part, mert_linear::isa(), &x), *together, "alone");
            }
            if rows <= 4 {
                for (row, x) in x.chunks(1536).enumerate() {
                    let alone = forward(&weights[0], mert_linear::isa(), x);
                    assert_eq!(alone, one[0][row * 1000..][..1000], "{encoding:?}: row {row} of {rows} alone");
                }
            }
        }
    }
}

/// Defects of a decoder, made in the stored bytes: each must exceed the bound by far.
#[test]
fn defects_exceed_the_bound() {
    let encoding = affine(4, 64, Dtype::F16);
    let right = Weight::new(40, 512, encoding);
    let change = |change: fn(&mut Weight)| {
        let mut weight = right.clone();
        change(&mut weight);
        weight.linear()
    };
    let defects = [
        ("nibbles swapped", change(|w| w.weight.iter_mut().for_each(|b| *b = b.rotate_left(4)))),
        ("bytes of a word reversed", change(|w| w.weight.chunks_mut(4).for_each(<[u8]>::reverse))),
        ("words of a row one on", change(|w| w.weight.chunks_mut(256).for_each(|row| row.rotate_left(4)))),
        ("groups one on", change(|w| w.scales.chunks_mut(16).for_each(|row| row.rotate_left(2)))),
        ("scales and biases swapped", change(|w| std::mem::swap(&mut w.scales, &mut w.biases))),
        ("biases rounded to bf16", change(|w| round(&mut w.biases))),
        ("scales rounded to bf16", change(|w| round(&mut w.scales))),
        ("half the group size", {
            let mut w = right.clone();
            w.encoding = affine(4, 32, Dtype::F16);
            for all in [&mut w.scales, &mut w.biases] {
                *all = [all.clone(), all.clone()].concat();
            }
            w.linear()
        }),
        ("bf16 read as f16", {
            let mut w = right.clone();
            w.encoding = affine(4, 64, Dtype::Bf16);
            w.linear()
        }),
    ];
    for rows in [2, 17] {
        let x = numbers(rows * 512, 17);
        for isa in Isa::available() {
            assert!(right.worst(&forward(&right.linear(), isa, &x), &x, isa) <= 1.0);
            for (name, linear) in &defects {
                let error = right.worst(&forward(linear, isa, &x), &x, isa);
                assert!(error >= 3.0, "{name}: {error} of the bound, {rows} rows, {isa:?}");
            }
        }
    }
}

/// Rounds f16 values to the precision of bf16.
fn round(stored: &mut [u8]) {
    for bytes in stored.as_chunks_mut::<2>().0 {
        let value = f16::from_le_bytes(*bytes).to_f32();
        *bytes = f16::from_f32(bf16::from_f32(value).to_f32()).to_le_bytes();
    }
}
