//! Defects of GGUF files. An honest `Q4_1` passes the structure question against the judge's own quantization of the original,
//! and an honest `Q8_0` the rounding question under the limits of 8 bits; every defect fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::Content;
use mert_arch::{Quantization, QuantizationMode};
use mert_convert::QuantizeOptions;
use mert_testkit::{fixture, runner};
use mert_verify::gate::Question;
use tempfile::TempDir;

use super::quantized::{convert_quantized, judge, quantized_reference, structure};
use crate::common::{arg, mert_verify};

/// The layer that defects are put into, and one of the same shape.
const LAYER: &str = "encoder.layers.5.feed_forward.intermediate_dense.weight";
const OTHER: &str = "encoder.layers.6.feed_forward.intermediate_dense.weight";

/// The bytes of a block: the scale, in Q4_1 the minimum, and the codes.
const Q4_1: usize = 20;
const Q8_0: usize = 34;

/// A defect: its name, and the change of a layer's blocks, given those of another layer.
type GgufMutant = (&'static str, fn(&mut [u8], &[u8]));

const Q4_1_MUTANTS: &[GgufMutant] = &[
    ("the halves of a byte exchanged", |data, _| {
        codes(data).for_each(|codes| codes.iter_mut().for_each(|byte| *byte = byte.rotate_left(4)));
    }),
    ("MLX's order of codes", |data, _| {
        for codes in codes(data) {
            let all: Vec<u8> = (0..32).map(|i| if i < 16 { codes[i] & 15 } else { codes[i - 16] >> 4 }).collect();
            codes.iter_mut().zip(all.chunks(2)).for_each(|(byte, pair)| *byte = pair[0] | pair[1] << 4);
        }
    }),
    ("scale and minimum exchanged", |data, _| data.chunks_mut(Q4_1).for_each(|block| block[..4].rotate_left(2))),
    ("minima dropped", |data, _| data.chunks_mut(Q4_1).for_each(|block| block[2..4].fill(0))),
    ("scales off by one block", |data, _| {
        let old = data.to_vec();
        for (block, before) in data.chunks_mut(Q4_1).skip(1).zip(old.chunks(Q4_1)) {
            block[..4].copy_from_slice(&before[..4]);
        }
    }),
    ("one scale for two blocks", |data, _| {
        for pair in data.chunks_mut(2 * Q4_1) {
            let (first, second) = pair.split_at_mut(Q4_1);
            second[..4].copy_from_slice(&first[..4]);
        }
    }),
    ("another layer's blocks", |data, other| data.copy_from_slice(other)),
    ("the last block of each row stale", |data, _| {
        for row in data.chunks_mut(2 * Q4_1) {
            let (before, last) = row.split_at_mut(Q4_1);
            last.copy_from_slice(before);
        }
    }),
    ("one code off by one", |data, _| data[4] ^= 1),
    ("the last bits of a layer's scales", |data, _| data.chunks_mut(Q4_1).for_each(|block| block[0] ^= 1)),
    ("a scale that is not a number", |data, _| data[..2].copy_from_slice(&[0, 0x7e])),
];

const Q8_0_MUTANTS: &[GgufMutant] = &[
    ("codes without a sign", |data, _| {
        data.chunks_mut(Q8_0).for_each(|block| block[2..].iter_mut().for_each(|code| *code ^= 0x80));
    }),
    ("scales off by one block", |data, _| {
        let old = data.to_vec();
        for (block, before) in data.chunks_mut(Q8_0).skip(1).zip(old.chunks(Q8_0)) {
            block[..2].copy_from_slice(&before[..2]);
        }
    }),
    ("another layer's blocks", |data, other| data.copy_from_slice(other)),
    ("codes rotated in each block", |data, _| data.chunks_mut(Q8_0).for_each(|block| block[2..].rotate_left(1))),
    ("a scale that is not a number", |data, _| data[..2].copy_from_slice(&[0, 0x7e])),
];

/// The codes of each block of `Q4_1`.
fn codes(data: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    data.chunks_mut(Q4_1).map(|block| &mut block[4..])
}

/// Converts `mert-tiny` to GGUF by the command.
fn convert(folder: &TempDir, options: &[&str]) -> PathBuf {
    let (input, output) = (fixture("mert-tiny/pytorch_model.bin"), folder.path().join("honest.gguf"));
    let run = runner::run("mert-convert", [&[arg(&input), arg(&output), "--quantize"], options].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    output
}

/// Writes the file with a defect in [`LAYER`] beside it.
fn mutant(honest: &Path, change: fn(&mut [u8], &[u8])) -> PathBuf {
    let content = Content::read(&mut File::open(honest).unwrap()).unwrap();
    let mut bytes = fs::read(honest).unwrap();
    let range = |name: &str| {
        let info = &content.tensor_infos[name];
        let start = (content.tensor_data_offset + info.offset) as usize;
        start..start + info.shape.elem_count() / info.ggml_dtype.block_size() * info.ggml_dtype.type_size()
    };
    let (old, other) = (bytes.clone(), bytes[range(OTHER)].to_vec());
    change(&mut bytes[range(LAYER)], &other);
    assert!(bytes != old, "the defect changes nothing");
    let path = honest.with_file_name("mutant.gguf");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn every_mutant_of_q4_1_fails_and_the_honest_file_passes() {
    let folder = TempDir::new().unwrap();
    for group_size in [32, 64] {
        let default = Quantization::new(QuantizationMode::Affine, 4, group_size).unwrap();
        let of_mlx = convert_quantized(&folder, QuantizeOptions { default, ..Default::default() }, "of-mlx");
        let reference = quantized_reference(&folder, &of_mlx);
        let honest = convert(&folder, &["--q-group-size", &group_size.to_string(), "--force"]);
        let verdict = judge(&honest, &reference).unwrap();
        assert!(verdict.passed() && verdict.structure_judged(), "{verdict:#?}");
        assert_eq!((verdict.format, &verdict.encoding[..]), ("gguf", &format!("4-bit g{group_size}")[..]));
        for (name, change) in Q4_1_MUTANTS {
            if group_size == 64 && *name == "one scale for two blocks" {
                continue;
            }
            let (nmse, passed) = structure(&judge(&mutant(&honest, *change), &reference).unwrap());
            println!("{name} | {nmse}");
            assert!(!passed, "{name}");
        }
    }
}

#[test]
fn q8_0_is_judged_by_its_rounding_and_says_so() {
    let folder = TempDir::new().unwrap();
    let honest = convert(&folder, &["--q-bits", "8"]);
    let reference = fixture("mert-tiny/reference.npz");
    let (code, out, err) = mert_verify(&[arg(&honest), "--reference", arg(&reference)]);
    assert_eq!(code, 0, "{out}{err}");
    for words in ["73 × Q8_0", "ONLY THE ROUNDING was judged", "hidden_states_f16_Q8_0"] {
        assert!(out.contains(words), "`{words}` is not in: {out}");
    }
    let run = mert_verify(&[arg(&honest), "--reference", arg(&reference), "--require-structure"]);
    assert_eq!(run.0, 1, "{}", run.1);
    for (name, change) in Q8_0_MUTANTS {
        let (code, out, _) = mert_verify(&[arg(&mutant(&honest, *change)), "--reference", arg(&reference)]);
        assert_eq!(code, 1, "{name}: {out}");
    }
}

#[test]
fn layers_run_alone_and_in_half_precision() {
    let folder = TempDir::new().unwrap();
    let default = Quantization::new(QuantizationMode::Affine, 4, 32).unwrap();
    let of_mlx = convert_quantized(&folder, QuantizeOptions { default, ..Default::default() }, "of-mlx");
    let honest = convert(&folder, &["--q-group-size", "32"]);
    let reference = quantized_reference(&folder, &of_mlx);
    let run = |model: &Path, options: &[&str]| {
        let report = folder.path().join("report.json");
        let base = [arg(model), "--reference", arg(&reference), "--json", arg(&report)];
        let (code, out, err) = mert_verify(&[&base, options].concat());
        assert!(code < 2, "{out}{err}");
        crate::common::json(&report)["models"][0]["comparisons"].clone()
    };
    // The same weights give the same numbers as the safetensors file.
    let isolated = run(&honest, &["--isolate"]);
    assert_eq!(isolated[0]["question"], serde_json::to_value(Question::Structure).unwrap());
    assert_eq!(isolated[0]["isolated"], true);
    let half = run(&honest, &["--dtype", "bf16"]);
    assert_eq!(half.as_array().unwrap().len(), 1);
    assert_eq!(half[0]["layers"], run(&of_mlx, &["--dtype", "bf16"])[0]["layers"]);
}

#[test]
fn damaged_files_and_options_of_packages_are_refused() {
    let folder = TempDir::new().unwrap();
    let honest = convert(&folder, &["--q-group-size", "32"]);
    let bytes = fs::read(&honest).unwrap();
    let damaged = folder.path().join("damaged.gguf");
    let refused = |bytes: &[u8], words: &str| {
        fs::write(&damaged, bytes).unwrap();
        let (code, _, err) = mert_verify(&[arg(&damaged), "--reference", arg(&fixture("mert-tiny/reference.npz"))]);
        assert_eq!(code, 2, "{err}");
        assert!(err.contains(words) && err.contains("damaged.gguf"), "`{words}` is not in: {err}");
    };
    let replaced = |from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        changed
    };
    refused(&bytes[..1000], "candle cannot read it");
    refused(&bytes[..bytes.len() - 64], "tensor `");
    refused(&bytes[..4], "candle cannot read it");
    refused(
        &replaced(b"general.alignment\x04\0\0\0\x20", b"general.alignment\x04\0\0\0\0"),
        "general.alignment is zero",
    );
    refused(&replaced(b"mert_convert.config", b"mert_convert.konfig"), "has no `config`");
    refused(&replaced(b"encoder.layer_norm.bias", b"encoder.layer_norm.blas"), "`encoder.layer_norm.bias` is missing");
    // The types of a float and of a block, and a shape.
    refused(
        &replaced(b"encoder.layer_norm.bias\x01\0\0\0\x40", b"encoder.layer_norm.bias\x01\0\0\0\x20"),
        "has shape [32]",
    );
    let with_type = |name: &[u8], dims: &[u64], kind: u8| {
        let mut info = name.to_vec();
        info.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|dim| info.extend(dim.to_le_bytes()));
        replaced(&info, &[&info[..], &[kind]].concat())
    };
    refused(&with_type(b"encoder.layer_norm.bias", &[64], 0), "has type F32, expected F16");
    refused(&with_type(LAYER.as_bytes(), &[64, 128], 8), "has type Q8_0, expected Q4_1");
    let (code, _, err) = mert_verify(&[arg(&honest), "--engine", "interpreter"]);
    assert!(code == 2 && err.contains("are for Core ML packages"), "{err}");
}
