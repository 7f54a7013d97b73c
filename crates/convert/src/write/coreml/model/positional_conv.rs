//! The variants of the positional convolution.

use mert_arch::PositionalConv;

use super::Model;
use crate::write::coreml::graph::{Conv, Graph, Tensor};

/// The path of the module.
const AT: &str = "encoder.pos_conv_embed";

/// Epsilon of the module's own norms: PyTorch's default, not `layer_norm_eps`.
const EPS: f64 = 1e-5;

impl Model<'_> {
    /// The positional convolution, from `(1, frames, hidden_size)` to the same shape.
    pub(super) fn positional_conv(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        let variant = self.config.positional_conv();
        match variant {
            PositionalConv::WeightNorm { .. } => self.one_convolution(g, x, variant, None),
            PositionalConv::BatchNorm { .. } => self.one_convolution(g, x, variant, Some(&format!("{AT}.batch_norm"))),
            PositionalConv::Stack { layers, .. } => {
                (0..layers).fold(x.clone(), |x, i| self.convolution_of_stack(g, &x, variant, i))
            }
        }
    }

    /// A convolution and the activation, with a BatchNorm of this path before the padding.
    fn one_convolution(&self, g: &mut Graph<'_>, x: &Tensor, variant: PositionalConv, norm: Option<&str>) -> Tensor {
        let mut x = g.transpose(&format!("{AT}.channels"), x, &[0, 2, 1]);
        if let Some(norm) = norm {
            x = g.batch_norm(norm, &x, norm, EPS);
        }
        let x = convolution(g, &x, variant, &format!("{AT}.conv"));
        let x = g.activation(&format!("{AT}.activation"), &x, self.config.feat_extract_activation);
        g.transpose(&format!("{AT}.frames"), &x, &[0, 2, 1])
    }

    /// Convolution `i` of a stack, with its norm over channels and the activation.
    fn convolution_of_stack(&self, g: &mut Graph<'_>, x: &Tensor, variant: PositionalConv, i: usize) -> Tensor {
        let at = format!("{AT}.layers.{i}");
        let x = g.transpose(&format!("{at}.channels"), x, &[0, 2, 1]);
        let x = convolution(g, &x, variant, &format!("{at}.conv"));
        let x = g.transpose(&format!("{at}.frames"), &x, &[0, 2, 1]);
        let x = g.plain_layer_norm(&format!("{at}.layer_norm"), &x, EPS);
        g.activation(&format!("{at}.activation"), &x, self.config.feat_extract_activation)
    }
}

/// A convolution of as many frames as there are. PyTorch pads both ends of an even kernel alike and drops the last frame; here
/// the end has one zero fewer.
fn convolution(g: &mut Graph<'_>, x: &Tensor, variant: PositionalConv, module: &str) -> Tensor {
    let (weight, bias, kernel) = (format!("{module}.weight"), format!("{module}.bias"), variant.kernel());
    let pad = [kernel / 2, (kernel - 1) / 2];
    g.conv(module, x, &weight, &Conv { bias: Some(&bias), stride: 1, pad, groups: variant.groups() })
}
