//! The protobuf messages of a Core ML model that the verifier reads.
//!
//! They are transcribed from Apple's `Model.proto`, `FeatureTypes.proto` and `MIL.proto`
//! (<https://github.com/apple/coremltools/tree/main/mlmodel/format>) and not shared with the converter, so that a wrong
//! field number there is not repeated here. [`Program`] has every field of MIL that can hold a value, and the other
//! messages those that an audio encoder may have. A message that does not have the same length when it is encoded again
//! has other fields and is refused. Attributes that only annotate, and metadata, stay bytes.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(int32, tag = "1")]
    pub(super) specification_version: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) description: Option<Description>,
    /// A [`Program`], decoded apart so that its length can be checked.
    #[prost(bytes = "vec", optional, tag = "502")]
    pub(super) ml_program: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Description {
    #[prost(message, repeated, tag = "1")]
    pub(super) input: Vec<Feature>,
    #[prost(message, repeated, tag = "10")]
    pub(super) output: Vec<Feature>,
    /// A [`Metadata`], whose other fields are free text.
    #[prost(bytes = "vec", optional, tag = "100")]
    pub(super) metadata: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(btree_map = "string, string", tag = "100")]
    pub(super) user_defined: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Feature {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) short_description: String,
    #[prost(message, optional, tag = "3")]
    pub(super) r#type: Option<FeatureType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureType {
    #[prost(message, optional, tag = "5")]
    pub(super) multi_array: Option<MultiArray>,
    #[prost(bool, tag = "1000")]
    pub(super) is_optional: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MultiArray {
    #[prost(int64, repeated, tag = "1")]
    pub(super) shape: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(message, optional, tag = "21")]
    pub(super) enumerated: Option<EnumeratedShapes>,
    #[prost(message, optional, tag = "31")]
    pub(super) range: Option<ShapeRange>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EnumeratedShapes {
    #[prost(message, repeated, tag = "1")]
    pub(super) shapes: Vec<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(int64, repeated, tag = "1")]
    pub(super) shape: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ShapeRange {
    #[prost(message, repeated, tag = "1")]
    pub(super) sizes: Vec<SizeRange>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct SizeRange {
    #[prost(uint64, tag = "1")]
    pub(super) lower: u64,
    #[prost(int64, tag = "2")]
    pub(super) upper: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Program {
    #[prost(int64, tag = "1")]
    pub(super) version: i64,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(super) functions: BTreeMap<String, Function>,
    #[prost(string, tag = "3")]
    pub(super) doc_string: String,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Function {
    #[prost(message, repeated, tag = "1")]
    pub(super) inputs: Vec<NamedValueType>,
    #[prost(string, tag = "2")]
    pub(super) opset: String,
    #[prost(btree_map = "string, message", tag = "3")]
    pub(super) block_specializations: BTreeMap<String, Block>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Block {
    #[prost(message, repeated, tag = "1")]
    pub(super) inputs: Vec<NamedValueType>,
    #[prost(string, repeated, tag = "2")]
    pub(super) outputs: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) operations: Vec<Operation>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Operation {
    #[prost(string, tag = "1")]
    pub(super) r#type: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(super) inputs: BTreeMap<String, Argument>,
    #[prost(message, repeated, tag = "3")]
    pub(super) outputs: Vec<NamedValueType>,
    #[prost(message, repeated, tag = "4")]
    pub(super) blocks: Vec<Block>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(super) attributes: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Argument {
    #[prost(message, repeated, tag = "1")]
    pub(super) arguments: Vec<Binding>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Binding {
    #[prost(oneof = "Bound", tags = "1, 2")]
    pub(super) binding: Option<Bound>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Bound {
    #[prost(string, tag = "1")]
    Name(String),
    #[prost(message, tag = "2")]
    Value(Value),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NamedValueType {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) r#type: Option<ValueType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueType {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(super) data_type: i32,
    #[prost(int64, tag = "2")]
    pub(super) rank: i64,
    #[prost(message, repeated, tag = "3")]
    pub(super) dimensions: Vec<Dimension>,
    #[prost(btree_map = "string, bytes", tag = "4")]
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Dimension {
    #[prost(message, optional, tag = "1")]
    pub(super) constant: Option<Constant>,
    #[prost(message, optional, tag = "2")]
    pub(super) unknown: Option<Unknown>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Constant {
    #[prost(uint64, tag = "1")]
    pub(super) size: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Unknown {
    #[prost(bool, tag = "1")]
    pub(super) variadic: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) doc_string: String,
    #[prost(message, optional, tag = "2")]
    pub(super) r#type: Option<ValueType>,
    #[prost(message, optional, tag = "3")]
    pub(super) immediate: Option<Immediate>,
    #[prost(message, optional, tag = "5")]
    pub(super) blob_file: Option<BlobFile>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Immediate {
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BlobFile {
    #[prost(string, tag = "1")]
    pub(super) file_name: String,
    #[prost(uint64, tag = "2")]
    pub(super) offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorValue {
    #[prost(oneof = "Values", tags = "1, 2, 3, 4, 7")]
    pub(super) values: Option<Values>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Values {
    #[prost(message, tag = "1")]
    Floats(Floats),
    #[prost(message, tag = "2")]
    Ints(Ints),
    #[prost(message, tag = "3")]
    Bools(Bools),
    #[prost(message, tag = "4")]
    Strings(Strings),
    #[prost(message, tag = "7")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Floats {
    #[prost(float, repeated, tag = "1")]
    pub(super) values: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ints {
    #[prost(int32, repeated, tag = "1")]
    pub(super) values: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bools {
    #[prost(bool, repeated, tag = "1")]
    pub(super) values: Vec<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Strings {
    #[prost(string, repeated, tag = "1")]
    pub(super) values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) values: Vec<u8>,
}
