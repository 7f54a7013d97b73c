//! Operations on whole numbers: positions of frames, and the values of a table at positions.

use super::values::{Constant, Dim, Indices, Operand, Tensor};
use super::{Graph, identifier};
use crate::write::coreml::options::DeploymentTarget;

impl Graph<'_> {
    /// The numbers from 0 to the extent of `x` along an axis, without it.
    pub(in crate::write::coreml) fn positions(&mut self, at: &str, x: &Tensor, axis: usize) -> Indices {
        let int = |value: usize| Operand::Constant(Constant::Int(value as i32));
        let shape = self.push_indices(
            "shape",
            &format!("{at}.shape"),
            vec![Dim::Fixed(x.dims.len())],
            [("x", Operand::Tensor(x))],
        );
        let inputs = [("x", Operand::Indices(&shape)), ("indices", int(axis))].into_iter().chain(self.gather_along(0));
        let extent = self.push_indices("gather", &format!("{at}.count"), vec![], inputs.collect::<Vec<_>>());
        let inputs = [("start", int(0)), ("end", Operand::Indices(&extent)), ("step", int(1))];
        self.push_indices("range_1d", at, vec![x.dims[axis]], inputs)
    }

    /// `x` plus a number.
    pub(in crate::write::coreml) fn shift(&mut self, at: &str, x: &Indices, by: i32) -> Indices {
        let by = Operand::Constant(Constant::Int(by));
        self.push_indices("add", at, x.dims.clone(), [("x", Operand::Indices(x)), ("y", by)])
    }

    /// `x` with a new axis of extent 1.
    pub(in crate::write::coreml) fn expand_indices(&mut self, at: &str, x: &Indices, axis: usize) -> Indices {
        let mut dims = x.dims.clone();
        dims.insert(axis, Dim::Fixed(1));
        let axes = Operand::Constant(Constant::Ints(vec![axis as i32]));
        self.push_indices("expand_dims", at, dims, [("x", Operand::Indices(x)), ("axes", axes)])
    }

    /// The differences of each number of a row `(1, columns)` and each of a column `(rows, 1)`, `(rows, columns)`.
    pub(in crate::write::coreml) fn differences(&mut self, at: &str, row: &Indices, column: &Indices) -> Indices {
        let dims = vec![column.dims[0], row.dims[1]];
        self.push_indices("sub", at, dims, [("x", Operand::Indices(row)), ("y", Operand::Indices(column))])
    }

    /// The values of `x` at these places along an axis, which the axes of `indices` replace.
    pub(in crate::write::coreml) fn gather(&mut self, at: &str, x: &Tensor, indices: &Indices, axis: usize) -> Tensor {
        let mut dims = x.dims.clone();
        dims.splice(axis..=axis, indices.dims.iter().copied());
        let inputs = [("x", Operand::Tensor(x)), ("indices", Operand::Indices(indices))];
        let inputs: Vec<_> = inputs.into_iter().chain(self.gather_along(axis)).collect();
        self.push("gather", at, dims, x.dtype, inputs)
    }

    /// The parameters of `gather` apart from its operands, of which later targets have more.
    fn gather_along<'a>(&self, axis: usize) -> Vec<(&'static str, Operand<'a>)> {
        let mut parameters = vec![("axis", Operand::Constant(Constant::Int(axis as i32)))];
        if self.target >= DeploymentTarget::Ios16 {
            parameters.push(("batch_dims", Operand::Constant(Constant::Int(0))));
        }
        if self.target >= DeploymentTarget::Ios17 {
            parameters.push(("validate_indices", Operand::Constant(Constant::Bool(false))));
        }
        parameters
    }

    fn push_indices<'a>(
        &mut self,
        operation: &str,
        at: &str,
        dims: Vec<Dim>,
        operands: impl IntoIterator<Item = (&'static str, Operand<'a>)>,
    ) -> Indices {
        let indices = Indices { name: identifier(at), dims };
        self.push_operation(operation, indices.named_type(), operands);
        indices
    }
}
