//! Centres in numpy's `.npy`, such as SeamlessM4T's `kmeans_10k.npy`.

use super::{Foreign, from_centres};
use crate::npy;

/// The vocabulary in an array `(k, dim)` of f2, f4 or f8, in either order.
///
/// # Errors
/// A clause about the file.
pub(in crate::vocabulary) fn read(bytes: &[u8]) -> Result<Foreign, String> {
    let array = npy::read(bytes)?;
    if array.is_integer {
        return Err("its elements are integers, expected centres in f2, f4 or f8; tokens come from `encode`".into());
    }
    from_centres(&array.shape, &array.values)
}
