//! The blocks of a tensor: along each axis, as many as another tensor has elements.

use std::ops::Range;

/// Calls `each` for runs of consecutive values of a row-major tensor of shape `dims`, in order, with the index of the block
/// that contains the run.
///
/// # Errors
/// If the extents of `counts`, the number of blocks along each axis, do not divide those of `dims`.
pub(super) fn for_each_run(
    dims: &[usize],
    counts: &[usize],
    mut each: impl FnMut(Range<usize>, usize),
) -> Result<(), String> {
    let divides = dims.iter().zip(counts).all(|(&dim, &count)| count > 0 && dim.is_multiple_of(count));
    let (Some((&columns, rows)), Some((&last, _)), true) =
        (dims.split_last(), counts.split_last(), divides && dims.len() == counts.len())
    else {
        return Err(format!("blocks {counts:?} do not divide a tensor of shape {dims:?}"));
    };
    let run = columns / last;
    for row in 0..rows.iter().product() {
        let (mut rest, mut block, mut stride) = (row, 0, last);
        for (&dim, &count) in rows.iter().zip(counts).rev() {
            block += rest % dim / (dim / count) * stride;
            rest /= dim;
            stride *= count;
        }
        for i in 0..last {
            let start = row * columns + i * run;
            each(start..start + run, block + i);
        }
    }
    Ok(())
}

/// A description of the blocks, such as `per channel` or `in blocks of 32`.
pub(super) fn describe(dims: &[usize], counts: &[usize]) -> String {
    match (dims, counts) {
        (_, [1, rest @ ..]) if rest.iter().all(|&count| count == 1) => "per tensor".into(),
        ([channels, ..], [first, rest @ ..]) if first == channels && rest.iter().all(|&count| count == 1) => {
            "per channel".into()
        }
        ([channels, inputs, ..], [first, second, rest @ ..])
            if first == channels && rest.iter().all(|&count| count == 1) =>
        {
            format!("in blocks of {}", inputs / second)
        }
        _ => format!("in blocks {counts:?}"),
    }
}
