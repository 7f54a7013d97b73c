//! The reasons why stored tensors are not a weight of the stated shape.

/// A tensor that does not fit the weight it is said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinearError {
    /// A tensor has another number of bytes than its shape and type take.
    #[error(
        "`{tensor}` has {found} bytes, expected {expected} for {shape}: check its shape, its dtype and the `quantization` in config.json"
    )]
    Length {
        /// `weight`, `scales` or `biases`.
        tensor: &'static str,
        /// The shape and type in words.
        shape: String,
        /// Bytes that the shape takes.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// A bias has another number of values than the weight has rows.
    #[error("`bias` has {found} values, expected {expected}, one for each output")]
    Bias {
        /// Outputs of the weight.
        expected: usize,
        /// Values of the bias.
        found: usize,
    },
    /// A weight without rows or columns, or with more values than memory can hold.
    #[error(
        "a weight of shape ({outputs}, {inputs}) is not supported: both must be positive, and their product fit memory"
    )]
    Shape {
        /// Rows of the weight.
        outputs: usize,
        /// Columns of the weight.
        inputs: usize,
    },
    /// Rows that are not whole groups.
    #[error("`weight` cannot be {quantization}: {reason}")]
    Groups {
        /// Bits and group size.
        quantization: String,
        /// The reason, as a clause.
        reason: String,
    },
    /// A quantization whose codes are not read here.
    #[error(
        "`weight` is {quantization}, expected mode affine with 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128: requantize it with mode affine"
    )]
    Unsupported {
        /// Mode, bits and group size.
        quantization: String,
    },
}
