//! The types of MIL values: an element type and a shape, as a program declares them.

use std::fmt;

use super::proto;

/// The element types of MIL that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Bool,
    String,
    F16,
    F32,
    I32,
    /// A whole number of a compressed weight.
    Code(Code),
}

/// The types of the whole numbers of compressed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    I4,
    I8,
    U1,
    U2,
    U3,
    U4,
    U6,
    U8,
    U32,
}

impl Element {
    fn decode(number: i32) -> Result<Self, String> {
        Ok(match number {
            1 => Element::Bool,
            2 => Element::String,
            10 => Element::F16,
            11 => Element::F32,
            21 => Element::Code(Code::I8),
            23 => Element::I32,
            25 => Element::Code(Code::I4),
            31 => Element::Code(Code::U8),
            33 => Element::Code(Code::U32),
            35 => Element::Code(Code::U4),
            36 => Element::Code(Code::U2),
            37 => Element::Code(Code::U1),
            38 => Element::Code(Code::U6),
            39 => Element::Code(Code::U3),
            other => {
                return Err(format!(
                    "element type {other}, expected bool (1), string (2), fp16 (10), fp32 (11), int32 (23) or, for a \
                     compressed weight, int8 (21), int4 (25), uint8 (31), uint32 (33), uint4 (35), uint2 (36), uint1 (37), \
                     uint6 (38) or uint3 (39)"
                ));
            }
        })
    }

    /// The name of the type in MIL.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Element::Bool => "bool",
            Element::String => "string",
            Element::F16 => "fp16",
            Element::F32 => "fp32",
            Element::I32 => "int32",
            Element::Code(code) => code.name(),
        }
    }
}

impl Code {
    const fn name(self) -> &'static str {
        match self {
            Code::I4 => "int4",
            Code::I8 => "int8",
            Code::U1 => "uint1",
            Code::U2 => "uint2",
            Code::U3 => "uint3",
            Code::U4 => "uint4",
            Code::U6 => "uint6",
            Code::U8 => "uint8",
            Code::U32 => "uint32",
        }
    }

    /// The number of bits.
    pub(super) const fn bits(self) -> usize {
        match self {
            Code::U1 => 1,
            Code::U2 => 2,
            Code::U3 => 3,
            Code::I4 | Code::U4 => 4,
            Code::U6 => 6,
            Code::I8 | Code::U8 => 8,
            Code::U32 => 32,
        }
    }

    pub(super) const fn is_signed(self) -> bool {
        matches!(self, Code::I4 | Code::I8)
    }

    /// The number of the type in a record of `weight.bin` (`BlobDataType`).
    pub(super) const fn blob_type(self) -> u32 {
        match self {
            Code::U8 => 3,
            Code::I8 => 4,
            Code::I4 => 8,
            Code::U1 => 9,
            Code::U2 => 10,
            Code::U4 => 11,
            Code::U3 => 12,
            Code::U6 => 13,
            Code::U32 => 15,
        }
    }
}

/// The type of a value; an extent is `None` if it is known at run time only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) element: Element,
    pub(super) dims: Vec<Option<usize>>,
}

impl Type {
    /// The type of a value with these extents.
    pub(super) fn new(element: Element, dims: &[usize]) -> Self {
        Type { element, dims: dims.iter().copied().map(Some).collect() }
    }

    pub(super) fn decode(declared: Option<&proto::ValueType>) -> Result<Self, String> {
        let tensor = declared.and_then(|declared| declared.tensor.as_ref());
        let tensor = tensor.ok_or("its type is not a tensor type")?;
        let element = Element::decode(tensor.data_type)?;
        let dims: Vec<_> = tensor.dimensions.iter().map(extent).collect::<Result<_, _>>()?;
        if tensor.rank != dims.len() as i64 {
            return Err(format!("its rank is {}, but it has {} dimensions", tensor.rank, dims.len()));
        }
        Ok(Type { element, dims })
    }

    /// Whether a value of this element type and shape has the type.
    pub(super) fn accepts(&self, element: Element, dims: &[usize]) -> bool {
        self.element == element
            && self.dims.len() == dims.len()
            && self.dims.iter().zip(dims).all(|(declared, found)| declared.is_none_or(|declared| declared == *found))
    }

    /// The number of elements, which is known if all extents are.
    pub(super) fn count(&self) -> Result<usize, String> {
        let product = self.dims.iter().try_fold(1usize, |product, dim| product.checked_mul((*dim)?));
        product.ok_or_else(|| format!("its shape {self} is not known, as a constant's must be"))
    }

    /// The extents of a constant.
    pub(super) fn extents(&self) -> Vec<usize> {
        self.dims.iter().map(|dim| dim.unwrap_or_default()).collect()
    }
}

fn extent(dimension: &proto::Dimension) -> Result<Option<usize>, String> {
    match (dimension.constant, dimension.unknown) {
        (Some(constant), None) => {
            // No tensor of this model comes near this limit, and products of four extents cannot overflow.
            usize::try_from(constant.size)
                .ok()
                .filter(|size| (1..1 << 31).contains(size))
                .map(Some)
                .ok_or_else(|| format!("invalid dimension {}", constant.size))
        }
        (None, Some(proto::Unknown { variadic: false })) => Ok(None),
        _ => Err("a dimension that is neither constant nor unknown".into()),
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> =
            self.dims.iter().map(|dim| dim.map_or_else(|| "?".into(), |dim| dim.to_string())).collect();
        write!(f, "{}[{}]", self.element.name(), dims.join(", "))
    }
}
