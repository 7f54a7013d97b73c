//! Mutants of compressed weights. The honest package is judged by a reference with the values that its codes stand for, which
//! this file decodes by itself and puts into a package without compression.

use std::path::{Path, PathBuf};

use half::f16;
use mert_arch::Dtype;
use mert_convert::Compression;
use mert_convert::write::{CoreMlOptions, DeploymentTarget};
use mert_testkit::core_ml_package::field;
use mert_testkit::protobuf::{Field, packed};
use mert_testkit::{CoreMlPackage, fixture};
use mert_verify::candidate::{self, ComputeOptions, Output, PackageOptions};
use mert_verify::gate::{CompareOptions, ModelVerdict, Question};
use mert_verify::{Check, Reference, Tolerances, VerifyError};
use ndarray::{Axis, stack};
use tempfile::TempDir;

use super::edit::Fails::{Gate, With};
use super::edit::{Mutant, Q_WEIGHT, set_extents};
use crate::common::{convert_compressed, convert_coreml, reference};

const K_WEIGHT: &str = "encoder_layers_5_attention_k_proj_weight";

/// The extent of the weights above along both axes.
const WIDTH: usize = 64;

/// The number of values in a block.
const BLOCK: usize = 32;

/// A scheme, a deployment target, and the defects of a package of them.
const SCHEMES: [(&str, &str, &[Mutant]); 4] = [
    ("uint8", "ios16", AFFINE),
    ("uint4", "ios18", BLOCKWISE),
    ("palettize4", "ios16", PALETTE),
    ("palettize4", "ios18", PALETTE_IN_BLOCKS),
];

const AFFINE: &[Mutant] = &[
    ("scales along the other axis", Gate, |p| set_axis(p, 1)),
    ("an axis that is not there", With("axis 2 does not exist"), |p| set_axis(p, 2)),
    ("scales off by one row", Gate, |p| bytes(p, "scale").rotate_left(2)),
    ("zero points dropped", Gate, |p| bytes(p, "zero_point").fill(0)),
    ("zero points off by one row", Gate, |p| bytes(p, "zero_point").rotate_left(1)),
    ("one zero point off by one", Gate, |p| bytes(p, "zero_point")[7] ^= 1),
    ("one code off by one", Gate, |p| bytes(p, "quantized_data")[1000] ^= 1),
    ("codes transposed", Gate, |p| {
        let codes = bytes(p, "quantized_data");
        let old = codes.to_vec();
        codes.iter_mut().enumerate().for_each(|(i, code)| *code = old[i % WIDTH * WIDTH + i / WIDTH]);
    }),
    ("codes of another weight", Gate, |p| exchange(p, "quantized_data")),
    ("scales of another weight", Gate, |p| exchange(p, "scale")),
    ("a parameter left out", With("`zero_point` is missing"), |p| {
        p.edit_operation(Q_WEIGHT, |operation| operation.remove_entry(field::ATTRIBUTES, "zero_point"));
    }),
    ("a weight of iOS 18", With("in operation set CoreML8"), |p| {
        p.edit_operation(Q_WEIGHT, |operation| operation.set_text(field::TYPE, "constexpr_blockwise_shift_scale"));
    }),
    ("a form that is not supported", With("unsupported form"), |p| {
        p.edit_operation(Q_WEIGHT, |operation| operation.set_text(field::TYPE, "constexpr_sparse_to_dense"));
    }),
];

const BLOCKWISE: &[Mutant] = &[
    ("nibbles swapped", Gate, |p| swap_nibbles(bytes(p, "data"))),
    ("nibbles of the offsets swapped", Gate, |p| swap_nibbles(bytes(p, "offset"))),
    ("offsets dropped", Gate, |p| bytes(p, "offset").fill(0)),
    ("offsets left out of the program", With("weight.bin counts"), |p| {
        p.edit_operation(Q_WEIGHT, |operation| operation.remove_entry(field::INPUTS, "offset"));
    }),
    ("blocks of rows in place of columns", Gate, |p| {
        for parameter in ["scale", "offset"] {
            p.edit_parameter(Q_WEIGHT, parameter, |value| {
                value.edit(2, |declared| declared.edit(1, |tensor| set_extents(tensor, &[2, WIDTH as u64])));
            });
        }
    }),
    ("blocks that do not divide", With("do not divide"), |p| {
        p.edit_parameter(Q_WEIGHT, "scale", |value| {
            value.edit(2, |declared| declared.edit(1, |tensor| set_extents(tensor, &[128, 1])));
        });
        p.edit_parameter(Q_WEIGHT, "offset", |value| {
            value.edit(2, |declared| declared.edit(1, |tensor| set_extents(tensor, &[128, 1])));
        });
    }),
    ("scales off by one block", Gate, |p| bytes(p, "scale").rotate_left(2)),
    ("a scale of 7 in one block", Gate, |p| {
        bytes(p, "scale")[0..2].copy_from_slice(&f16::from_f32(7.0).to_le_bytes());
    }),
    ("codes of another weight", Gate, |p| exchange(p, "data")),
    ("bits counted as padding", With("of the last byte are padding"), |p| {
        let record = p.parameter_record(Q_WEIGHT, "data");
        p.weights[record + 24] = 4;
    }),
    ("codes with a sign", With("expected 8"), |p| {
        p.edit_parameter(Q_WEIGHT, "data", |value| {
            value.edit(2, |declared| declared.edit(1, |tensor| tensor.set(1, Field::Varint(25))));
        });
    }),
];

const PALETTE: &[Mutant] = &[
    ("the table reversed", Gate, |p| reverse_table(bytes(p, "lut"))),
    ("two values of the table exchanged", Gate, |p| exchange_two(bytes(p, "lut"))),
    ("nibbles swapped", Gate, |p| swap_nibbles(bytes(p, "indices"))),
    ("bits from the highest", Gate, |p| bytes(p, "indices").iter_mut().for_each(|byte| *byte = byte.reverse_bits())),
    ("indices off by one byte", Gate, |p| bytes(p, "indices").rotate_left(1)),
    ("the table of another weight", Gate, |p| exchange(p, "lut")),
    ("a shape of more values", With("do not hold"), |p| {
        p.edit_parameter(Q_WEIGHT, "shape", |value| {
            let shape = [64u32, 65].iter().flat_map(|extent| extent.to_le_bytes()).collect();
            value.edit(3, |immediate| {
                immediate.edit(1, |tensor| tensor.edit(7, |bytes| bytes.set(1, Field::Bytes(shape))));
            });
        });
    }),
];

const PALETTE_IN_BLOCKS: &[Mutant] = &[
    ("the table reversed", Gate, |p| reverse_table(bytes(p, "lut"))),
    ("nibbles swapped", Gate, |p| swap_nibbles(bytes(p, "indices"))),
    ("the table of another weight", Gate, |p| exchange(p, "lut")),
    ("a table of vectors", With("parameter `lut` has shape"), |p| {
        p.edit_parameter(Q_WEIGHT, "lut", |value| {
            value.edit(2, |declared| declared.edit(1, |tensor| set_extents(tensor, &[1, 1, 8, 2])));
        });
    }),
];

/// The bytes of a parameter of the weight that the mutants change.
fn bytes<'p>(package: &'p mut CoreMlPackage, parameter: &str) -> &'p mut [u8] {
    let data = package.parameter_data(Q_WEIGHT, parameter);
    &mut package.weights[data]
}

fn set_axis(package: &mut CoreMlPackage, axis: i32) {
    package.edit_parameter(Q_WEIGHT, "axis", |value| {
        value.edit(3, |immediate| {
            immediate.edit(1, |tensor| tensor.edit(2, |ints| ints.set(1, packed(&[axis]))));
        });
    });
}

/// Exchanges the records of a parameter of two weights.
fn exchange(package: &mut CoreMlPackage, parameter: &str) {
    let records = [Q_WEIGHT, K_WEIGHT].map(|weight| package.parameter_record(weight, parameter));
    for (weight, record) in [Q_WEIGHT, K_WEIGHT].into_iter().zip(records.into_iter().rev()) {
        package.edit_parameter(weight, parameter, |value| {
            value.edit(5, |blob| blob.set(2, Field::Varint(record as u64)));
        });
    }
}

fn swap_nibbles(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = byte.rotate_left(4));
}

fn reverse_table(table: &mut [u8]) {
    table.as_chunks_mut::<2>().0.reverse();
}

fn exchange_two(table: &mut [u8]) {
    table.as_chunks_mut::<2>().0.swap(7, 8);
}

/// The values of a compressed weight, decoded by its definition.
fn decode(package: &mut CoreMlPackage, scheme: &str, name: &str, columns: usize) -> Vec<u8> {
    let mut read = |parameter: &str| {
        let data = package.parameter_data(name, parameter);
        package.weights[data].to_vec()
    };
    let halves = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks().0.iter().map(|&half| f16::from_le_bytes(half).to_f32()).collect()
    };
    let nibbles = |bytes: &[u8]| -> Vec<usize> {
        bytes.iter().flat_map(|byte| [usize::from(byte & 15), usize::from(byte >> 4)]).collect()
    };
    let values: Vec<f32> = match scheme {
        "uint8" => {
            let (codes, scales, zeros) = (read("quantized_data"), halves(&read("scale")), read("zero_point"));
            let value =
                |(i, &code): (usize, &u8)| scales[i / columns] * (f32::from(code) - f32::from(zeros[i / columns]));
            codes.iter().enumerate().map(value).collect()
        }
        "uint4" => {
            let (codes, scales, offsets) = (nibbles(&read("data")), halves(&read("scale")), nibbles(&read("offset")));
            let value = |(i, &code): (usize, &usize)| scales[i / BLOCK] * (code as f32 - offsets[i / BLOCK] as f32);
            codes.iter().enumerate().map(value).collect()
        }
        _ => {
            let table = halves(&read("lut"));
            nibbles(&read("indices")).into_iter().map(|index| table[index]).collect()
        }
    };
    values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
}

/// The names of the compressed weights.
fn compressed_weights(package: &mut CoreMlPackage) -> Vec<String> {
    let mut names = Vec::new();
    package.edit_operations(|operation| {
        if operation.text(field::TYPE).is_some_and(|kind| kind.starts_with("constexpr_")) {
            names.push(operation.message(field::OUTPUTS).unwrap().text(1).unwrap().to_string());
        }
    });
    names
}

/// A reference with the hidden states of the honest package's decoded weights, from a package without compression.
fn reference_of(folder: &Path, honest: &Path, scheme: &str, plain: &Path) -> PathBuf {
    let mut compressed = CoreMlPackage::read(honest).unwrap();
    let mut decoded = CoreMlPackage::read(plain).unwrap();
    let names = compressed_weights(&mut compressed);
    assert_eq!(names.len(), 72);
    for name in names {
        let columns = if name.ends_with("output_dense_weight") { 2 * WIDTH } else { WIDTH };
        let values = decode(&mut compressed, scheme, &name, columns);
        let data = decoded.data(&name);
        decoded.weights[data].copy_from_slice(&values);
    }
    let path = folder.join("decoded.mlpackage");
    decoded.write(&path).unwrap();

    let open = |path: &Path| candidate::open(path, ComputeOptions::default(), PackageOptions::default()).unwrap();
    let mut expected = Reference::read(&reference()).unwrap();
    let all: Vec<usize> = (0..expected.hidden_states.dim().0).collect();
    let outputs = open(&path).run(&expected.input_values, &all).unwrap();
    let (_, frames) = outputs.into_iter().find(|(output, _)| *output == Output::Frames).unwrap();
    let views: Vec<_> = frames.values().map(|state| state.view()).collect();
    let array_name = open(honest).compression().unwrap().array_name(Dtype::F16);
    expected.quantized.insert(array_name, stack(Axis(0), &views).unwrap());
    let path = folder.join("reference.npz");
    expected.write(&path).unwrap();
    path
}

/// The verdict of a gate that asks for structure. What four bits cost a model with sharp weights is allowed, so that the
/// structure decides.
fn judge(model: &Path, reference: &Path) -> Result<ModelVerdict, VerifyError> {
    let tolerances: Tolerances = serde_json::from_str(
        r#"{"rounding": {"pooled_cosine": 0.5, "frame_cosine": -1, "nmse": 9, "max_abs_diff": 9, "below_floor": "sharp weights"}}"#,
    )
    .unwrap();
    Check {
        model: model.to_path_buf(),
        references: vec![reference.to_path_buf()],
        compare: CompareOptions { require_structure: true, tolerances, ..CompareOptions::default() },
        ..Check::default()
    }
    .run()
}

/// The largest NMSE of the structure question.
fn structure(verdict: &ModelVerdict) -> f64 {
    let comparisons = verdict.comparisons.iter().filter(|comparison| comparison.question == Question::Structure);
    let layers = comparisons.flat_map(|comparison| &comparison.layers);
    let nmse = layers.map(|layer| layer.metrics.map_or(f64::INFINITY, |metrics| metrics.nmse));
    nmse.map(|nmse| if nmse.is_nan() { f64::INFINITY } else { nmse }).fold(0.0, f64::max)
}

#[test]
fn every_mutant_of_compressed_weights_fails_and_the_honest_package_passes() {
    let folder = TempDir::new().unwrap();
    let checkpoint = fixture("mert-tiny/pytorch_model.bin");
    for (scheme, target, mutants) in SCHEMES {
        let target: DeploymentTarget = target.parse().unwrap();
        let options = CoreMlOptions {
            lengths: "1".parse().unwrap(),
            frames: true,
            minimum_deployment: target,
            ..CoreMlOptions::default()
        };
        let plain = convert_coreml(&checkpoint, &folder, Dtype::F16, &options);
        let honest = folder.path().join("honest.mlpackage");
        let compression = Compression::new(scheme.parse().unwrap(), None).unwrap();
        convert_compressed(&checkpoint, &honest, compression, &options);
        let reference = reference_of(folder.path(), &honest, scheme, &plain);
        let verdict = judge(&honest, &reference).unwrap();
        assert!(verdict.passed() && verdict.structure_judged(), "{scheme}, {target}: {verdict:#?}");
        println!("| {scheme}, {target} | honest | {:.1e} |", structure(&verdict));

        let package = CoreMlPackage::read(&honest).unwrap();
        let mutant = folder.path().join("mutant.mlpackage");
        for (name, fails, mutate) in mutants {
            let mut changed = package.clone();
            mutate(&mut changed);
            assert!(changed.model != package.model || changed.weights != package.weights, "{name} changes nothing");
            changed.write(&mutant).unwrap();
            match (fails, judge(&mutant, &reference)) {
                (Gate, Ok(verdict)) => {
                    println!("| {scheme}, {target} | {name} | {:.1e} |", structure(&verdict));
                    let is_judged = verdict.structure_judged();
                    assert!(is_judged && !verdict.passed(), "{scheme}, {target}: {name} passes");
                }
                (With(word), Err(error)) => {
                    println!("{scheme}, {target}, {name}: {error}");
                    assert!(error.to_string().contains(word), "{scheme}, {target}, {name}: {error}");
                }
                (_, found) => panic!("{scheme}, {target}, {name}: {found:#?}"),
            }
        }
    }
}

/// Without an array of its decoded weights a compressed package is judged by its rounding alone, which the gate says; eight
/// bits are within the tolerance even of sharp weights.
#[test]
fn without_decoded_weights_only_the_rounding_is_judged() {
    let folder = TempDir::new().unwrap();
    let options = CoreMlOptions {
        lengths: "1".parse().unwrap(),
        minimum_deployment: DeploymentTarget::Ios16,
        ..CoreMlOptions::default()
    };
    let package = folder.path().join("int8.mlpackage");
    let compression = Compression::new("int8".parse().unwrap(), None).unwrap();
    convert_compressed(&fixture("mert-tiny/pytorch_model.bin"), &package, compression, &options);
    let check = Check { model: package, references: vec![reference()], ..Check::default() };
    let verdict = check.run().unwrap();
    assert!(verdict.passed() && !verdict.structure_judged(), "{verdict:#?}");
    assert_eq!(verdict.encoding, "72 × int8 per channel");
    let note = verdict.notes.join("\n");
    assert!(note.contains("it has 72 × int8 per channel weights, of which"), "{note}");
    assert!(note.contains("hidden_states_f16_int8_per_channel"), "{note}");
    // Below the floor without a reason.
    let four = folder.path().join("palettize4.mlpackage");
    let compression = Compression::new("palettize4".parse().unwrap(), None).unwrap();
    convert_compressed(&fixture("mert-tiny/pytorch_model.bin"), &four, compression, &options);
    assert!(!Check { model: four, ..check }.run().unwrap().passed());
}
