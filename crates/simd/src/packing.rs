//! The orders in which [`multiply`](crate::multiply) reads its operands, and the copies into them.

use bytemuck::Pod;

use crate::buffer::LINE;

/// Writes the rows of `x` `(rows, width)` to a tile of the left operand, which may have more rows:
/// `[line of columns][row][column]`, the columns filled up with zeros to whole lines.
pub fn pack_rows(tile: &mut [f32], x: &[f32], width: usize) {
    let tile_rows = tile.len() / width.next_multiple_of(LINE);
    for (row, x) in x.chunks_exact(width).enumerate() {
        let (lines, rest) = x.as_chunks::<LINE>();
        let mut packed = tile.as_chunks_mut::<LINE>().0.iter_mut().skip(row).step_by(tile_rows);
        for (line, packed) in lines.iter().zip(packed.by_ref()) {
            *packed = *line;
        }
        if let (Some(packed), false) = (packed.next(), rest.is_empty()) {
            *packed = [0.0; LINE];
            packed[..rest.len()].copy_from_slice(rest);
        }
    }
}

/// The number of values in a panel of the right operand: `columns` columns of `inputs` values, filled up to whole lines.
pub fn packed_columns(inputs: usize, columns: usize) -> usize {
    inputs.next_multiple_of(LINE) * columns
}

/// Writes at most `columns` vectors as the columns of a panel of the right operand, `[inner step][column]`. The rest of
/// the panel keeps its values.
pub fn pack_columns<'a, T: Pod>(panel: &mut [T], columns: usize, vectors: impl Iterator<Item = &'a [T]>) {
    for (column, vector) in vectors.take(columns).enumerate() {
        for (packed, &value) in panel[column..].iter_mut().step_by(columns).zip(vector) {
            *packed = value;
        }
    }
}
