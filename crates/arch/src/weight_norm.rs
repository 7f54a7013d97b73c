//! The weight norm of the positional convolution: one weight, under three spellings.
//!
//! w = g · v / ‖v‖, with one norm per kernel tap, taken over dimensions (0, 1) of v
//! (`torch.nn.utils.weight_norm(conv, dim=2)` in fairseq and transformers). A norm over dimensions
//! (1, 2) broadcasts against the same g without an error and gives a different model.

/// The name of the module whose weight is normalised.
pub const MODULE: &str = "encoder.pos_conv_embed.conv";

/// The name of the fused weight.
pub const FUSED: &str = "encoder.pos_conv_embed.conv.weight";

/// The dimension of v that keeps its own norm: the kernel's.
pub const DIM: usize = 2;

/// The pair of names under which a checkpoint stores (g, v).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelling {
    /// The magnitude, shape `(1, 1, kernel)`.
    pub g: &'static str,
    /// The direction, shape `(out, in / groups, kernel)`.
    pub v: &'static str,
}

/// The two unfused spellings: the older `torch.nn.utils.weight_norm`, and
/// `torch.nn.utils.parametrizations.weight_norm` of torch 2.
pub const SPELLINGS: [Spelling; 2] = [
    Spelling { g: "encoder.pos_conv_embed.conv.weight_g", v: "encoder.pos_conv_embed.conv.weight_v" },
    Spelling {
        g: "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        v: "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
    },
];
