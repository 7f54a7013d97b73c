//! Panics of a decoder as errors. Decoders parse bytes of any origin, and a bug in one must not end the program.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{AudioError, Result};

/// Runs `decode` and returns a panic of it as [`AudioError::DecoderPanicked`].
pub(super) fn guard<T>(decode: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).map_err(|panic| {
        let reason = panic.downcast_ref::<&str>().map(ToString::to_string);
        let reason = reason.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        AudioError::DecoderPanicked { reason }
    })
}
