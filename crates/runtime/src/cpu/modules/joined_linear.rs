//! Several linear maps of one input, such as the queries, keys and values of attention.

use super::super::kernels::output::Epilogue;
use super::super::memory::PackedRows;
use super::context::Executor;
use super::linear::Linear;

/// Linear maps of the same input with their outputs one after the other. Those that are stored alike are one product, with
/// more columns to share among the threads; layers quantized with other bits are products of their own.
#[derive(Debug)]
pub(crate) struct JoinedLinear {
    parts: Vec<Linear>,
}

impl JoinedLinear {
    pub(crate) fn new(parts: Vec<Linear>) -> Self {
        JoinedLinear { parts }
    }

    /// The first map, whose input is the same as that of all.
    pub(crate) fn first(&self) -> Option<&Linear> {
        self.parts.first()
    }

    /// Maps `x` to `out` `(rows, outputs of all maps)`, on all threads.
    pub(crate) fn forward(&self, executor: &mut Executor<'_>, x: PackedRows<'_>, out: &mut [f32], epilogue: Epilogue) {
        let width = self.parts.iter().map(Linear::outputs).sum();
        let mut first = 0;
        for part in &self.parts {
            part.forward_columns(executor, x, out, (width, first), epilogue);
            first += part.outputs();
        }
    }
}
