//! The memory of the CPU engine. One word for each kind of it:
//!
//! - **Buffer**: zero-initialised numbers of one type that start on a cache line. It grows and never shrinks.
//! - **Packed**: an operand of a product in the order in which the microkernel reads it, cut into pieces that fit a
//!   [`mert_simd::Tile`]. [`PackedWeight`] is the right operand, packed once when a model is loaded; [`PackedActivations`] are the
//!   left operand, written in this order by the step before.
//! - **Workspace**: all memory that forward passes reuse from one to the next. [`Intermediates`] are the part of it
//!   that lives within one module; [`HiddenState`] is what one module hands to the next.
//! - **Task arena**: the lists of the tasks that one step is split into.
//! - **Scratch**: the memory of one thread within one task. It belongs to the thread and serves all models.
//!
//! Nothing in here computes, and nothing in here depends on the kernels or the modules.

mod packed_activations;
mod packed_weight;
mod quantized_panels;
mod scratch;
mod task_arena;
mod workspace;

pub(crate) use packed_activations::{PackedActivations, PackedRows, TileMut};
pub(crate) use packed_weight::{PackedWeight, PanelPart};
pub(crate) use quantized_panels::{PanelGroup, QuantizedPanel};
pub(crate) use scratch::{GemmScratch, Scratch, for_each_with_scratch, with_scratch};
pub(crate) use task_arena::{TaskArena, split_columns};
pub(crate) use workspace::{HiddenState, Intermediates, PatchStatistics, Workspace};
