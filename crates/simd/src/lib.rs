//! Vector instructions chosen at run time, and the innermost matrix product: what the kernels of the forward pass, of
//! k-means and of the search share.
//!
//! A kernel is a type that implements [`Kernel`]; [`Isa::run`] compiles and runs it for the processor's instructions.
//! [`multiply`] computes one tile of a product, whose operands are packed as [`pack_rows`] and [`pack_columns`] do;
//! [`Bf16Product`] and [`Int8Product`] do so for two bf16 numbers or four integers in the place of a float.

mod buffer;
mod isa;
mod microkernel;
mod packing;
mod tile;
mod words;

pub use buffer::{Buffer, LINE};
pub use isa::{ISA_VARIABLE, Isa, Kernel, at_least, mul_add};
pub use microkernel::{LeftGroup, left_groups, multiply};
pub use packing::{pack_columns, pack_rows, packed_columns};
pub use tile::{Tile, TileShape};
pub use words::*;
