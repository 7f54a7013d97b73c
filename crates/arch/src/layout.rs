//! The layouts of convolution weights in a file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Role;

/// The order of the dimensions of Conv1d weights in a file. Linear and norm weights are the same in every layout.
///
/// A file states its layout in its metadata. It cannot be inferred from shapes: a kernel of 1 or a square weight has
/// the same shape in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The order of `mlx.nn.Conv1d`, `(out, kernel, in / groups)`.
    Mlx,
    /// The order of PyTorch and candle, `(out, in / groups, kernel)`. On command lines and in metadata it is `candle`.
    #[serde(rename = "candle")]
    Torch,
}

impl Layout {
    /// The lower-case name on command lines and in the metadata of a file.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Mlx => "mlx",
            Layout::Torch => "candle",
        }
    }

    /// The value of the metadata entry `format` that readers of this layout expect: `mlx` for MLX, `pt` for Hugging
    /// Face readers of PyTorch's order.
    pub const fn format(self) -> &'static str {
        match self {
            Layout::Mlx => "mlx",
            Layout::Torch => "pt",
        }
    }

    /// The permutation that takes a tensor of this role from PyTorch's order into this layout
    /// (`result.shape[i] = torch.shape[axes[i]]`), or `None` where nothing moves.
    ///
    /// The permutation is its own inverse.
    pub const fn permutation_from_torch(self, role: Role) -> Option<[usize; 3]> {
        match (self, role.is_conv1d()) {
            (Layout::Mlx, true) => Some([0, 2, 1]),
            _ => None,
        }
    }

    /// The shape in this layout of a tensor whose PyTorch shape is given.
    pub fn shape_from_torch(self, role: Role, torch_shape: &[usize]) -> Vec<usize> {
        match self.permutation_from_torch(role) {
            Some(axes) if torch_shape.len() == axes.len() => axes.iter().map(|&a| torch_shape[a]).collect(),
            _ => torch_shape.to_vec(),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Layout::Mlx, Layout::Torch]
            .into_iter()
            .find(|l| l.name() == text)
            .ok_or_else(|| format!("unknown layout `{text}`: expected mlx or candle"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pytorchs_order_is_candle_on_disk() {
        assert_eq!("candle".parse(), Ok(Layout::Torch));
        for layout in [Layout::Mlx, Layout::Torch] {
            assert_eq!(serde_json::to_string(&layout).unwrap(), format!("\"{layout}\""));
            assert_eq!(layout.name().parse(), Ok(layout));
        }
    }
}
