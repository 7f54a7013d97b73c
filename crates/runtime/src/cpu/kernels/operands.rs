//! The numbers that products multiply, each with the way its operands are packed and the innermost product of it.

use mert_simd::{Bf16Product, Buffer, Int8Columns, Int8Product, Int8Rows, left_groups, multiply, word_groups};
use pulp::Simd;

use super::super::memory::PanelPart;
use super::left_operand::{Rows, pack_left, pack_left_bf16, pack_left_int8};
use super::right_operand::{to_bf16, to_f32};

/// A block of the inner dimension of one tile of the left operand.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) words: &'a [u32],
    /// The scale of each row of integers, and then the offset of each.
    pub(super) scales: &'a [f32],
}

/// A block of the inner dimension of one panel of the right operand.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) words: &'a [u32],
    /// The scale of each column of integers, and the sum of its integers.
    pub(super) scales: &'a [f32],
    pub(super) sums: &'a [f32],
}

impl<'a> Left<'a> {
    /// Numbers without scales.
    pub(super) fn plain(words: &'a [u32]) -> Self {
        Left { words, scales: &[] }
    }
}

impl<'a> Right<'a> {
    /// Numbers without scales.
    pub(super) fn plain(words: &'a [u32]) -> Self {
        Right { words, scales: &[], sums: &[] }
    }
}

/// One kind of numbers.
pub(super) trait Operands: Copy {
    /// Packs inner words `first..first + words` of rows, with their scales.
    #[allow(clippy::too_many_arguments)]
    fn pack_left<'a, S: Simd, const ROWS: usize>(
        self,
        simd: S,
        x: Rows<'_>,
        rows: usize,
        part: (usize, usize),
        inputs: usize,
        packed: &'a mut Buffer<u32>,
        scales: &'a mut Buffer,
    ) -> (&'a [u32], &'a [f32]);

    /// The words of a part of a panel, `words` of each column.
    fn right<'a, S: Simd, const VECTORS: usize>(
        self,
        simd: S,
        part: PanelPart<'a>,
        words: usize,
        widened: &'a mut Buffer,
        rounded: &'a mut Buffer<u32>,
    ) -> &'a [u32];

    /// Writes the product of one tile to `sums`.
    fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        simd: S,
        left: Left<'_>,
        right: Right<'_>,
        ahead: &[u8],
        sums: &mut [[S::f32s; VECTORS]; ROWS],
    );
}

/// Numbers in f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floats;

impl Operands for Floats {
    #[inline(always)]
    fn pack_left<'a, S: Simd, const ROWS: usize>(
        self,
        _: S,
        x: Rows<'_>,
        rows: usize,
        (first, words): (usize, usize),
        inputs: usize,
        packed: &'a mut Buffer<u32>,
        _: &'a mut Buffer,
    ) -> (&'a [u32], &'a [f32]) {
        (pack_left::<ROWS>(x, rows, first, words, inputs, packed), &[])
    }

    #[inline(always)]
    fn right<'a, S: Simd, const VECTORS: usize>(
        self,
        simd: S,
        part: PanelPart<'a>,
        _: usize,
        widened: &'a mut Buffer,
        _: &'a mut Buffer<u32>,
    ) -> &'a [u32] {
        bytemuck::cast_slice(to_f32::<S, VECTORS>(simd, part, widened))
    }

    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        simd: S,
        left: Left<'_>,
        right: Right<'_>,
        ahead: &[u8],
        sums: &mut [[S::f32s; VECTORS]; ROWS],
    ) {
        let (left, right) = (bytemuck::cast_slice(left.words), bytemuck::cast_slice(right.words));
        *sums = multiply::<S, ROWS, VECTORS>(simd, left_groups(left), right, ahead);
    }
}

impl Operands for Bf16Product {
    #[inline(always)]
    fn pack_left<'a, S: Simd, const ROWS: usize>(
        self,
        simd: S,
        x: Rows<'_>,
        rows: usize,
        (first, words): (usize, usize),
        inputs: usize,
        packed: &'a mut Buffer<u32>,
        _: &'a mut Buffer,
    ) -> (&'a [u32], &'a [f32]) {
        (pack_left_bf16::<S, ROWS>(simd, x, rows, (2 * first, words), inputs, packed), &[])
    }

    #[inline(always)]
    fn right<'a, S: Simd, const VECTORS: usize>(
        self,
        simd: S,
        part: PanelPart<'a>,
        words: usize,
        widened: &'a mut Buffer,
        rounded: &'a mut Buffer<u32>,
    ) -> &'a [u32] {
        to_bf16::<S, VECTORS>(simd, self, part, words, widened, rounded)
    }

    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        simd: S,
        left: Left<'_>,
        right: Right<'_>,
        ahead: &[u8],
        sums: &mut [[S::f32s; VECTORS]; ROWS],
    ) {
        Bf16Product::multiply(self, simd, word_groups(left.words), right.words, ahead, sums);
    }
}

impl Operands for Int8Product {
    #[inline(always)]
    fn pack_left<'a, S: Simd, const ROWS: usize>(
        self,
        simd: S,
        x: Rows<'_>,
        rows: usize,
        (first, words): (usize, usize),
        inputs: usize,
        packed: &'a mut Buffer<u32>,
        scales: &'a mut Buffer,
    ) -> (&'a [u32], &'a [f32]) {
        let inputs = (inputs, self.left_flip());
        pack_left_int8::<S, ROWS>(simd, x, rows, (4 * first, words), inputs, packed, scales)
    }

    #[inline(always)]
    fn right<'a, S: Simd, const VECTORS: usize>(
        self,
        _: S,
        part: PanelPart<'a>,
        _: usize,
        _: &'a mut Buffer,
        _: &'a mut Buffer<u32>,
    ) -> &'a [u32] {
        match part {
            PanelPart::Words(words) => words,
            // Weights for products of integers are packed as such.
            _ => &[],
        }
    }

    #[inline(always)]
    fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
        self,
        simd: S,
        left: Left<'_>,
        right: Right<'_>,
        ahead: &[u8],
        sums: &mut [[S::f32s; VECTORS]; ROWS],
    ) {
        let (scales, offsets) = left.scales.split_at(ROWS);
        let left = Int8Rows { words: word_groups(left.words), scales, offsets };
        let right = Int8Columns { words: right.words, scales: right.scales, sums: right.sums };
        Int8Product::multiply(self, simd, left, right, ahead, sums);
    }
}
