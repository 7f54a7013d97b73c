//! The kernels of the CPU engine: each runs on the thread that calls it, on slices and packed operands.
//!
//! All products go through one [`gemm`](gemm::Product) around one microkernel for each kind of numbers (`operands`: [`mert_simd::multiply`],
//! [`mert_simd::Bf16Product`], [`mert_simd::Int8Product`]); everything else is a pass over
//! values while they are in the cache. Code is compiled once for each instruction set and chosen at run time ([`mert_simd::Isa`]).

pub(crate) mod attention;
pub(crate) mod conv1d;
mod dequantize;
pub(crate) mod gemm;
pub(crate) mod head_layout;
pub(crate) mod layer_norm;
pub(crate) mod left_operand;
pub(crate) mod math;
mod operands;
pub(crate) mod output;
pub(crate) mod pack;
pub(crate) mod patch_norm;
pub(crate) mod position_bias;
mod right_operand;
mod softmax;
