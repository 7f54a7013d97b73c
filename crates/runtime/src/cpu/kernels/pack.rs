//! Rows of activations to the left operand of a product.

use mert_simd::{Factors, Int8Scale, Isa, Kernel, LINE, TileShape, pack_bf16_row, pack_int8_row, pack_rows};
use pulp::Simd;

use super::super::arithmetic::inner_block;
use super::super::memory::TileMut;

/// Writes the rows of `x` `(rows, width)` to a tile, which may have more rows, as the factors that it takes.
pub(crate) fn pack_tile(isa: Isa, tile: TileMut<'_>, x: &[f32], width: usize) {
    match tile.factors {
        Factors::F32 => pack_rows(bytemuck::cast_slice_mut(tile.words), x, width),
        Factors::Bf16 | Factors::Int8 => isa.run(TileShape::Square, PackWords { tile, x, width }),
    }
}

struct PackWords<'a> {
    tile: TileMut<'a>,
    x: &'a [f32],
    width: usize,
}

impl Kernel for PackWords<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let PackWords { tile: TileMut { words, scales, factors, flip }, x, width } = self;
        let rows = words.len() / factors.words(width);
        let lines = words.as_chunks_mut::<LINE>().0;
        for (row, x) in x.chunks_exact(width).enumerate() {
            match factors {
                Factors::Int8 => {
                    let block = inner_block(factors, width);
                    let parts = x.chunks(block * factors.in_word()).zip(lines.chunks_mut(block / LINE * rows));
                    for (i, (x, lines)) in parts.enumerate() {
                        let lines = lines.iter_mut().skip(row).step_by(rows);
                        let Int8Scale { scale, offset } = pack_int8_row(simd, x, flip, lines);
                        scales[2 * i * rows + row] = scale;
                        scales[(2 * i + 1) * rows + row] = offset;
                    }
                }
                _ => pack_bf16_row(simd, x, lines.iter_mut().skip(row).step_by(rows)),
            }
        }
    }
}
