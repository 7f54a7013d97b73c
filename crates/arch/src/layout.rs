use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Role;

/// How a file lays out its Conv1d weights. Linear and norm weights are the same in all of them.
///
/// The layout is always stated (in the file's metadata), never guessed from shapes: a kernel of 1 or
/// a square weight looks the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `(out, kernel, in / groups)`: what `mlx.nn.Conv1d` loads.
    Mlx,
    /// `(out, in / groups, kernel)`: PyTorch's own order, which candle uses too.
    #[serde(rename = "candle")]
    Torch,
}

impl Layout {
    /// The lower-case name used on the command line and in a file's metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Mlx => "mlx",
            Layout::Torch => "candle",
        }
    }

    /// The `format` metadata value that readers of this layout look for: MLX looks for `mlx`,
    /// Hugging Face readers accept `pt` for PyTorch's order.
    pub const fn format(self) -> &'static str {
        match self {
            Layout::Mlx => "mlx",
            Layout::Torch => "pt",
        }
    }

    /// The permutation that takes a tensor of this role from PyTorch's order into this layout
    /// (`result.shape[i] = torch.shape[axes[i]]`), or `None` where nothing moves.
    ///
    /// The permutation is its own inverse, so it also leads back.
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
            .ok_or_else(|| format!("unknown layout {text:?}: expected mlx or candle"))
    }
}
