//! The operations on weights of a few values, of which each shape, type and parameter is known by hand.

use std::collections::BTreeMap;

use candle_core::Device;

use super::decompress;
use crate::candidate::coreml::blob::BlobFile;
use crate::candidate::coreml::proto::{
    Argument, Binding, Bound, Bytes, Constant, Dimension, Immediate, Ints, Operation, TensorType, TensorValue, Value,
    ValueType, Values,
};
use crate::candidate::coreml::value;

const F16: i32 = 10;
const I32: i32 = 23;
const I8: i32 = 21;
const I4: i32 = 25;
const U8: i32 = 31;
const U32: i32 = 33;
const U4: i32 = 35;
const U2: i32 = 36;

fn value(data_type: i32, dims: &[usize], values: Values) -> Value {
    let dimension = |&size: &usize| Dimension { constant: Some(Constant { size: size as u64 }), unknown: None };
    let tensor = TensorType {
        data_type,
        rank: dims.len() as i64,
        dimensions: dims.iter().map(dimension).collect(),
        attributes: BTreeMap::new(),
    };
    Value {
        doc_string: String::new(),
        r#type: Some(ValueType { tensor: Some(tensor) }),
        immediate: Some(Immediate { tensor: Some(TensorValue { values: Some(values) }) }),
        blob_file: None,
    }
}

fn bytes(data_type: i32, dims: &[usize], values: &[u8]) -> Value {
    value(data_type, dims, Values::Bytes(Bytes { values: values.to_vec() }))
}

fn halves(dims: &[usize], values: &[f32]) -> Value {
    let values: Vec<u8> = values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect();
    bytes(F16, dims, &values)
}

fn axis(axis: i32) -> Value {
    value(I32, &[], Values::Ints(Ints { values: vec![axis] }))
}

/// The values and the encoding of a weight; the parameters are where the operation set has them.
fn run(opset: u32, kind: &str, parameters: &[(&str, Value)]) -> Result<(Vec<f32>, String), String> {
    let mut operation = Operation { r#type: kind.into(), ..Operation::default() };
    for (name, value) in parameters {
        if opset < 8 {
            operation.attributes.insert((*name).into(), value.clone());
        } else {
            let binding = Binding { binding: Some(Bound::Value(value.clone())) };
            operation.inputs.insert((*name).into(), Argument { arguments: vec![binding] });
        }
    }
    let mut header = vec![0; 64];
    header[4] = 2;
    let mut blobs = BlobFile::new(header)?;
    let weight = decompress(&operation, opset, &mut blobs, &Device::Cpu)?;
    let value::Value::Float(_, tensor) = weight.value else { panic!("not floats") };
    Ok((tensor.flatten_all().unwrap().to_vec1().unwrap(), weight.encoding))
}

/// Bytes of small whole numbers.
fn i8s(values: &[i8]) -> Vec<u8> {
    values.iter().map(|&value| value as u8).collect()
}

#[test]
fn affine_along_either_axis() {
    let affine = |along: i32, count: usize| {
        let data = bytes(I8, &[2, 3], &i8s(&[1, 2, 3, -4, -5, -128]));
        let zeros = bytes(I8, &[count], &i8s(&[1, -1, 0][..count]));
        let scales = halves(&[count], &[0.5, 2.0, 0.25][..count]);
        let parameters = [("quantized_data", data), ("zero_point", zeros), ("scale", scales), ("axis", axis(along))];
        run(6, "constexpr_affine_dequantize", &parameters)
    };
    let (rows, encoding) = affine(0, 2).unwrap();
    assert_eq!(rows, [0.0, 0.5, 1.0, -6.0, -8.0, -254.0]);
    assert_eq!(encoding, "int8 per channel");
    assert_eq!(affine(-2, 2).unwrap().0, rows);
    let (columns, encoding) = affine(1, 3).unwrap();
    assert_eq!(columns, [0.0, 6.0, 0.75, -2.5, -8.0, -32.0]);
    assert_eq!(encoding, "int8 in blocks [1, 3]");
    assert!(affine(0, 3).unwrap_err().contains("expected one value or [2]"));
    assert!(affine(2, 2).unwrap_err().contains("axis 2 does not exist"));
    assert!(run(8, "constexpr_affine_dequantize", &[]).unwrap_err().contains("constexpr_blockwise_shift_scale"));
    assert!(run(5, "constexpr_affine_dequantize", &[]).unwrap_err().contains("in operation set CoreML6"));
}

/// 0.1 in half precision times 3 is not a half-precision number.
#[test]
fn the_result_is_rounded_to_its_type() {
    let scale = half::f16::from_f32(0.1).to_f32();
    let parameters = [("data", bytes(U8, &[1, 1], &[7])), ("scale", halves(&[1, 1], &[0.1]))];
    let (values, _) = run(8, "constexpr_blockwise_shift_scale", &parameters).unwrap();
    assert_ne!(values, [scale * 7.0]);
    assert_eq!(values, [half::f16::from_f32(scale * 7.0).to_f32()]);
}

#[test]
fn blocks_of_both_axes() {
    // [[0, 1, 2, 3], [4, 5, 6, 7]] in four bits.
    let data = |data_type| bytes(data_type, &[2, 4], &[0x10, 0x32, 0x54, 0x76]);
    let blockwise = |parameters: &[(&str, Value)]| run(8, "constexpr_blockwise_shift_scale", parameters);
    let scale = ("scale", halves(&[2, 2], &[1.0, 2.0, 4.0, 8.0]));
    let offset = |data_type| ("offset", bytes(data_type, &[2, 2], &[0x21, 0x43]));
    let (values, encoding) = blockwise(&[("data", data(U4)), scale.clone(), offset(U4)]).unwrap();
    assert_eq!(values, [-1.0, 0.0, 0.0, 2.0, 4.0, 8.0, 16.0, 24.0]);
    assert_eq!(encoding, "uint4 in blocks of 2");
    // A block of two rows and one column.
    let columns = ("scale", halves(&[1, 4], &[1.0, 2.0, 4.0, 8.0]));
    let (values, _) = blockwise(&[("data", data(I4)), columns]).unwrap();
    assert_eq!(values, [0.0, 2.0, 8.0, 24.0, 4.0, 10.0, 24.0, 56.0]);
    let negative = [("data", bytes(I4, &[1, 2], &[0xf8])), ("scale", halves(&[1, 1], &[0.5]))];
    assert_eq!(blockwise(&negative).unwrap(), (vec![-4.0, -0.5], "int4 per tensor".into()));

    assert!(blockwise(&[("data", data(U4)), scale.clone(), offset(I4)]).unwrap_err().contains("expected uint4"));
    let thirds = ("scale", halves(&[2, 3], &[1.0; 6]));
    assert!(blockwise(&[("data", data(U4)), thirds]).unwrap_err().contains("do not divide"));
    let mismatched = ("offset", bytes(U4, &[1, 4], &[0x21, 0x43]));
    assert!(blockwise(&[("data", data(U4)), scale.clone(), mismatched]).unwrap_err().contains("`offset` has shape"));
    assert!(blockwise(&[("data", data(U4)), scale.clone(), ("axis", axis(0))]).unwrap_err().contains("`axis`"));
    assert!(blockwise(&[scale]).unwrap_err().contains("`data` is missing"));
    assert!(run(7, "constexpr_blockwise_shift_scale", &[]).unwrap_err().contains("CoreML8 and later"));
}

#[test]
fn tables_of_a_tensor_and_of_blocks() {
    // Apple's example of indices, 0, 3, 2, 1 and 3.
    let shape = ("shape", bytes(U32, &[1], &[5, 0, 0, 0]));
    let lut = ("lut", halves(&[4], &[-1.0, -0.5, 0.5, 1.0]));
    let indices = |values: &[u8]| ("indices", bytes(U8, &[values.len()], values));
    let of_tensor = |indices| run(6, "constexpr_lut_to_dense", &[indices, lut.clone(), shape.clone()]);
    let (values, encoding) = of_tensor(indices(&[0b0110_1100, 0b11])).unwrap();
    assert_eq!(values, [-1.0, 1.0, 0.5, -0.5, 1.0]);
    assert_eq!(encoding, "palettes of 4 values per tensor");
    assert!(of_tensor(indices(&[0b0110_1100])).unwrap_err().contains("do not hold"));

    // The first group of Apple's example of two groups of rows.
    let indices = |data_type| ("indices", bytes(data_type, &[2, 2], &[0b0111_1110]));
    let lut = |dims: &[usize]| ("lut", halves(dims, &[1.0, 5.0, 9.0, 13.0, 2.0, 10.0, 18.0, 26.0]));
    let in_blocks = |indices, lut| run(8, "constexpr_lut_to_dense", &[indices, lut]);
    let (values, encoding) = in_blocks(indices(U2), lut(&[2, 1, 4, 1])).unwrap();
    assert_eq!(values, [9.0, 13.0, 26.0, 10.0]);
    assert_eq!(encoding, "palettes of 4 values per channel");
    assert_eq!(in_blocks(indices(U2), lut(&[1, 2, 4, 1])).unwrap().0, [9.0, 26.0, 13.0, 10.0]);
    assert!(in_blocks(indices(U2), lut(&[1, 1, 8, 1])).unwrap_err().contains("parameter `lut` has shape"));
    assert!(in_blocks(indices(U2), lut(&[1, 1, 4, 2])).unwrap_err().contains("parameter `lut` has shape"));
    assert!(in_blocks(indices(I4), lut(&[2, 1, 4, 1])).unwrap_err().contains("expected uint1"));
}

#[test]
fn other_forms_are_refused() {
    let error = run(8, "constexpr_sparse_to_dense", &[]).unwrap_err();
    assert!(error.contains("unsupported form of compressed weight"), "{error}");
    let operation = Operation {
        r#type: "constexpr_lut_to_dense".into(),
        inputs: BTreeMap::from([("lut".into(), Argument::default())]),
        ..Operation::default()
    };
    let mut blobs =
        BlobFile::new([[0, 0, 0, 0, 2, 0, 0, 0], [0; 8], [0; 8], [0; 8], [0; 8], [0; 8], [0; 8], [0; 8]].concat());
    let error = decompress(&operation, 6, blobs.as_mut().unwrap(), &Device::Cpu).err().unwrap();
    assert!(error.contains("in CoreML6 it is an attribute"), "{error}");
    let error = decompress(&operation, 8, blobs.as_mut().unwrap(), &Device::Cpu).err().unwrap();
    assert!(error.contains("`lut` has 0 values"), "{error}");
}
