//! Gathering of tensors that are not contiguous and little-endian: transposed, expanded, sliced, or big-endian.

/// The reason why a view could not be gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GatherError {
    /// The view extends beyond its storage.
    OutOfBounds,
    /// The view does not fit into memory.
    OutOfMemory,
}

/// The elements of a strided view in row-major order, as little-endian bytes. `swap` reverses the bytes of each element.
///
/// # Errors
/// [`GatherError`].
pub(super) fn gather(
    storage: &[u8],
    element_size: usize,
    offset: usize,
    shape: &[usize],
    strides: &[usize],
    swap: bool,
) -> Result<Vec<u8>, GatherError> {
    let elements = end(offset, shape, strides).filter(|&end| end <= storage.len() / element_size.max(1));
    if elements.is_none() || element_size == 0 {
        return Err(GatherError::OutOfBounds);
    }
    let count = shape.iter().try_fold(element_size, |bytes, &extent| bytes.checked_mul(extent));
    let count = count.ok_or(GatherError::OutOfBounds)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(count).map_err(|_| GatherError::OutOfMemory)?;
    if count == 0 {
        return Ok(bytes);
    }
    // The last axis is the inner loop; the outer indices count like an odometer.
    let (&row, outer) = shape.split_last().unwrap_or((&1, &[]));
    let (&step, outer_strides) = strides.split_last().unwrap_or((&0, &[]));
    let mut index = vec![0; outer.len()];
    let mut start = offset;
    loop {
        for column in 0..row {
            let at = (start + column * step) * element_size;
            let element = storage.get(at..at + element_size).ok_or(GatherError::OutOfBounds)?;
            match swap {
                true => bytes.extend(element.iter().rev()),
                false => bytes.extend_from_slice(element),
            }
        }
        let Some(axis) = (0..outer.len()).rev().find(|&axis| index[axis] + 1 < outer[axis]) else { return Ok(bytes) };
        for later in axis + 1..outer.len() {
            start -= index[later] * outer_strides[later];
            index[later] = 0;
        }
        index[axis] += 1;
        start += outer_strides[axis];
    }
}

/// The position after the last element of a view, relative to the start of the storage; `None` on overflow.
pub(super) fn end(offset: usize, shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(offset, |last, (&extent, &stride)| last.checked_add((extent - 1).checked_mul(stride)?))?;
    last.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_a_storage() {
        let storage: Vec<u8> = (0u16..24).flat_map(u16::to_le_bytes).collect();
        let view = |offset, shape: &[usize], strides: &[usize]| {
            let bytes = gather(&storage, 2, offset, shape, strides, false).ok()?;
            Some(bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect::<Vec<u16>>())
        };
        assert_eq!(view(0, &[2, 3], &[1, 2]).unwrap(), [0, 2, 4, 1, 3, 5]);
        assert_eq!(view(1, &[2, 2, 2], &[12, 1, 4]).unwrap(), [1, 5, 2, 6, 13, 17, 14, 18]);
        assert_eq!(view(7, &[3], &[0]).unwrap(), [7, 7, 7]);
        assert_eq!(view(23, &[], &[]).unwrap(), [23]);
        assert_eq!(view(99, &[0, 3], &[3, 1]).unwrap(), [0u16; 0]);
        for (offset, shape, strides) in [
            (24, &[][..], &[][..]),
            (0, &[25], &[1]),
            (0, &[2], &[24]),
            (1, &[usize::MAX], &[usize::MAX]),
            (0, &[usize::MAX, usize::MAX], &[0, 0]),
        ] {
            assert_eq!(view(offset, shape, strides), None, "{shape:?}");
        }
        assert!(gather(&storage, 2, 0, &[usize::MAX / 2], &[0], false).is_err());
        assert_eq!(gather(&[1, 2, 3, 4], 2, 0, &[2], &[1], true).unwrap(), [2, 1, 4, 3]);
    }
}
