//! The tensors that an EnCodec configuration implies, with weight norm fused: in transformers' names and PyTorch's order of
//! axes, and in the names and order of mlx-examples.

use serde::Serialize;

use super::config::EncodecConfig;

/// The role of a tensor of EnCodec, which decides its order and name in MLX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodecRole {
    /// The weight of a Conv1d, `(out, in, kernel)` in PyTorch.
    Conv1d,
    /// The weight of a ConvTranspose1d, `(in, out, kernel)` in PyTorch.
    ConvTranspose1d,
    /// The bias of a Conv1d, `(out,)`.
    Conv1dBias,
    /// The bias of a ConvTranspose1d, `(out,)`.
    ConvTranspose1dBias,
    /// The weight of an LSTM for its input, `(4 · width, width)`, its gates in the order i, f, g, o.
    LstmInput,
    /// The weight of an LSTM for its last output, `(4 · width, width)`.
    LstmHidden,
    /// The bias beside [`EncodecRole::LstmInput`], `(4 · width,)`.
    LstmInputBias,
    /// The bias beside [`EncodecRole::LstmHidden`], `(4 · width,)`.
    LstmHiddenBias,
    /// The vectors of a codebook, `(codebook_size, codebook_dim)`.
    Codebook,
}

impl EncodecRole {
    /// The permutation from PyTorch's order to MLX's (`result.shape[i] = torch.shape[axes[i]]`), or `None` where nothing
    /// moves. MLX has the channels last, `(out, kernel, in)`, in both kinds of convolutions.
    pub const fn mlx_axes(self) -> Option<[usize; 3]> {
        match self {
            EncodecRole::Conv1d => Some([0, 2, 1]),
            EncodecRole::ConvTranspose1d => Some([1, 2, 0]),
            _ => None,
        }
    }

    /// True for a tensor that checkpoints store under weight norm.
    pub const fn has_weight_norm(self) -> bool {
        matches!(self, EncodecRole::Conv1d | EncodecRole::ConvTranspose1d)
    }
}

/// A tensor that a configuration implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodecTensor {
    /// The name in transformers' `EncodecModel`, without any prefix.
    pub name: String,
    /// The shape in PyTorch's order.
    pub shape: Vec<usize>,
    /// The role of the tensor in the model.
    pub role: EncodecRole,
}

/// A tensor of mlx-examples' EnCodec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodecMlxTensor {
    /// The name there.
    pub name: String,
    /// The shape there.
    pub shape: Vec<usize>,
    /// The tensors that it is made of: one, whose axes are permuted by [`EncodecRole::mlx_axes`], or two that are added.
    pub sources: Vec<EncodecTensor>,
}

impl EncodecConfig {
    /// The tensors of the model in the order of the forward pass, with weight norm fused, in the names of transformers'
    /// [`EncodecModel`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/encodec/modeling_encodec.py).
    pub fn inventory(&self) -> Vec<EncodecTensor> {
        let mut tensors = Tensors::default();
        tensors.encoder(self);
        tensors.decoder(self);
        for k in 0..self.num_quantizers() {
            let shape = [self.codebook_size, self.codebook_dim()];
            tensors.push(format!("quantizer.layers.{k}.codebook.embed"), &shape, EncodecRole::Codebook);
        }
        tensors.0
    }

    /// The tensors of the model as mlx-examples'
    /// [`convert.py`](https://github.com/ml-explore/mlx-examples/blob/main/encodec/convert.py) writes them: channels last,
    /// and the two biases of an LSTM layer as their sum.
    pub fn mlx_inventory(&self) -> Vec<EncodecMlxTensor> {
        let mut tensors: Vec<EncodecMlxTensor> = Vec::new();
        for tensor in self.inventory() {
            let name = tensor.mlx_name();
            match tensors.last_mut().filter(|last| last.name == name) {
                Some(last) => last.sources.push(tensor),
                None => tensors.push(EncodecMlxTensor { name, shape: tensor.mlx_shape(), sources: vec![tensor] }),
            }
        }
        tensors
    }
}

impl EncodecTensor {
    /// The name in mlx-examples. The two biases of an LSTM layer share one.
    pub fn mlx_name(&self) -> String {
        let parameter = match self.role {
            EncodecRole::LstmInput => "Wx",
            EncodecRole::LstmHidden => "Wh",
            EncodecRole::LstmInputBias | EncodecRole::LstmHiddenBias => "bias",
            _ => return self.name.clone(),
        };
        // `encoder.layers.13.lstm.weight_ih_l0` is `encoder.layers.13.lstm.0.Wx` there.
        let (module, torch) = self.name.rsplit_once('.').unwrap_or(("", &self.name));
        let layer = torch.rsplit_once("_l").map_or("0", |(_, layer)| layer);
        format!("{module}.{layer}.{parameter}")
    }

    /// The shape in MLX's order of axes.
    pub fn mlx_shape(&self) -> Vec<usize> {
        match self.role.mlx_axes() {
            Some(axes) => axes.iter().filter_map(|&axis| self.shape.get(axis).copied()).collect(),
            None => self.shape.clone(),
        }
    }
}

/// The tensors collected so far.
#[derive(Default)]
struct Tensors(Vec<EncodecTensor>);

impl Tensors {
    fn push(&mut self, name: String, shape: &[usize], role: EncodecRole) {
        self.0.push(EncodecTensor { name, shape: shape.to_vec(), role });
    }

    fn conv(&mut self, path: &str, input: usize, output: usize, kernel: usize) {
        self.push(format!("{path}.conv.weight"), &[output, input, kernel], EncodecRole::Conv1d);
        self.push(format!("{path}.conv.bias"), &[output], EncodecRole::Conv1dBias);
    }

    fn residual_block(&mut self, config: &EncodecConfig, path: &str, width: usize) {
        let within = width / config.compress;
        self.conv(&format!("{path}.block.1"), width, within, config.residual_kernel_size);
        self.conv(&format!("{path}.block.3"), within, width, 1);
        if config.use_conv_shortcut {
            self.conv(&format!("{path}.shortcut"), width, width, 1);
        }
    }

    fn lstm(&mut self, config: &EncodecConfig, path: &str) {
        let width = config.lstm_width();
        for layer in 0..config.num_lstm_layers {
            let path = |parameter: &str| format!("{path}.lstm.{parameter}_l{layer}");
            self.push(path("weight_ih"), &[4 * width, width], EncodecRole::LstmInput);
            self.push(path("weight_hh"), &[4 * width, width], EncodecRole::LstmHidden);
            self.push(path("bias_ih"), &[4 * width], EncodecRole::LstmInputBias);
            self.push(path("bias_hh"), &[4 * width], EncodecRole::LstmHiddenBias);
        }
    }

    /// The encoder's modules, numbered with the activations, which have no tensors.
    fn encoder(&mut self, config: &EncodecConfig) {
        let mut width = config.num_filters;
        self.conv("encoder.layers.0", config.audio_channels, width, config.kernel_size);
        let mut layer = 1;
        for &ratio in config.upsampling_ratios.iter().rev() {
            for _ in 0..config.num_residual_layers {
                self.residual_block(config, &format!("encoder.layers.{layer}"), width);
                layer += 1;
            }
            self.conv(&format!("encoder.layers.{}", layer + 1), width, 2 * width, 2 * ratio);
            layer += 2;
            width *= 2;
        }
        self.lstm(config, &format!("encoder.layers.{layer}"));
        self.conv(&format!("encoder.layers.{}", layer + 2), width, config.hidden_size, config.last_kernel_size);
    }

    /// The decoder's modules, numbered as the encoder's.
    fn decoder(&mut self, config: &EncodecConfig) {
        let mut width = config.lstm_width();
        self.conv("decoder.layers.0", config.hidden_size, width, config.kernel_size);
        self.lstm(config, "decoder.layers.1");
        let mut layer = 2;
        for &ratio in &config.upsampling_ratios {
            let path = format!("decoder.layers.{}", layer + 1);
            let shape = [width, width / 2, 2 * ratio];
            self.push(format!("{path}.conv.weight"), &shape, EncodecRole::ConvTranspose1d);
            self.push(format!("{path}.conv.bias"), &[width / 2], EncodecRole::ConvTranspose1dBias);
            layer += 2;
            width /= 2;
            for _ in 0..config.num_residual_layers {
                self.residual_block(config, &format!("decoder.layers.{layer}"), width);
                layer += 1;
            }
        }
        let path = format!("decoder.layers.{}", layer + 1);
        self.conv(&path, config.num_filters, config.audio_channels, config.last_kernel_size);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn encodec_32khz_has_its_number_of_values() {
        let tensors = EncodecConfig::default().inventory();
        let values: usize = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        // Parameters and codebooks of transformers' EncodecModel of this configuration, without the magnitudes of weight norm.
        assert_eq!(values, 57_925_313);
        let shape = |name: &str| tensors.iter().find(|tensor| tensor.name == name).unwrap().shape.clone();
        assert_eq!(shape("encoder.layers.13.lstm.weight_ih_l1"), [4096, 1024]);
        assert_eq!(shape("encoder.layers.15.conv.weight"), [128, 1024, 7]);
        assert_eq!(shape("decoder.layers.3.conv.weight"), [1024, 512, 16]);
        assert_eq!(shape("decoder.layers.15.conv.weight"), [1, 64, 7]);
        assert_eq!(shape("quantizer.layers.3.codebook.embed"), [2048, 128]);
    }

    #[test]
    fn mlx_names_are_unique_and_lstm_biases_share_one() {
        let config = EncodecConfig { use_conv_shortcut: true, num_residual_layers: 2, ..EncodecConfig::default() };
        let (torch, mlx) = (config.inventory(), config.mlx_inventory());
        let names: BTreeSet<_> = mlx.iter().map(|tensor| &tensor.name).collect();
        assert_eq!(names.len(), mlx.len());
        assert_eq!(mlx.len(), torch.len() - 2 * config.num_lstm_layers);
        let find = |name: &str| mlx.iter().find(|tensor| tensor.name == name).unwrap();
        let bias = find("encoder.layers.17.lstm.1.bias");
        let sources: Vec<_> = bias.sources.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(sources, ["encoder.layers.17.lstm.bias_ih_l1", "encoder.layers.17.lstm.bias_hh_l1"]);
        assert_eq!(find("decoder.layers.3.conv.weight").shape, [512, 16, 1024]);
        assert_eq!(find("encoder.layers.0.conv.weight").shape, [64, 7, 1]);
        assert_eq!(find("encoder.layers.1.shortcut.conv.weight").shape, [64, 1, 64]);
    }
}
