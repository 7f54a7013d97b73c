//! The reasons why a pickle cannot be parsed.

use thiserror::Error;

/// The reason why a pickle cannot be parsed, as a clause about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum PickleError {
    /// The bytes end before the pickle.
    #[error("its pickle is cut off")]
    CutOff,
    /// An opcode is unknown or lacks its operands.
    #[error("its pickle is damaged at byte {at} (opcode 0x{opcode:02x})")]
    Damaged { at: usize, opcode: u8 },
    /// The pickle refers to out-of-band buffers of protocol 5, which no file contains.
    #[error(
        "its pickle refers to out-of-band buffers (pickle protocol 5), which are not in the file; save it with torch.save"
    )]
    OutOfBand,
    /// The description of an array of joblib is not one.
    #[error(
        "its array at byte {at} has no shape and element type that can be read: it is damaged, or of another joblib"
    )]
    RawArray { at: usize },
    /// The pickle has more values than the limit.
    #[error(
        "its pickle describes more objects than any checkpoint needs; save the model alone with \
         torch.save(model.state_dict(), PATH)"
    )]
    TooMany,
}

pub(super) type Result<T, E = PickleError> = std::result::Result<T, E>;
