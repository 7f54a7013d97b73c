//! The tile of a product: the block of the result that one call of the microkernel computes. The packed layouts of both
//! operands follow from it.

/// One of the two tile shapes that an instruction set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TileShape {
    /// About as many rows as columns.
    #[default]
    Square,
    /// More columns than rows: fewer loads for each product, where the width of the result allows it.
    Wide,
}

/// The size of a tile for one instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tile {
    /// The shape that it has.
    pub shape: TileShape,
    /// Rows of the tile.
    pub rows: usize,
    /// Columns of the tile, and of a panel of the right operand.
    pub columns: usize,
}
