"""HuBERT's forward pass in float64, from the tensors of a checkpoint under transformers' names.

Shares no code with the converter, the runtime or the programs that are checked.
"""

import numpy as np
import torch

EPS = 1e-5  # torch's default, which the feature extractor's norms have


def gelu(x):
    return 0.5 * x * (1 + torch.erf(torch.from_numpy(x) / 2**0.5).numpy())


def layer_norm(x, weight, bias, eps):
    """Over the channels, the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def convolution(x, weight, bias=None, stride=1, groups=1):
    """`x` is (frames, channels), `weight` torch's (out, in / groups, kernel)."""
    kernel = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=0)[::stride]  # (frames, channels, kernel)
    size = len(weight) // groups
    parts = [
        np.einsum("tck,ock->to", part, weight[i * size : (i + 1) * size], optimize=True)
        for i, part in enumerate(np.split(windows, groups, axis=1))
    ]
    y = np.concatenate(parts, axis=1)
    return y if bias is None else y + bias


class Forward:
    """The forward pass of a checkpoint folder's `config.json` and weights."""

    def __init__(self, tensors, config):
        self.tensors = {name: np.asarray(tensor, dtype=np.float64) for name, tensor in tensors.items()}
        self.config = config

    def hidden_states(self, samples):
        """The states 0 to the number of layers; with pre-LN, the last is before the final LayerNorm, as the layers give it."""
        config = self.config
        x = self.projection(self.features(np.asarray(samples, dtype=np.float64)[:, None]))
        x = x + self.positions(x)
        if not config["do_stable_layer_norm"]:
            x = self.norm(x, "encoder.layer_norm")
        states = [x]
        for i in range(config["num_hidden_layers"]):
            states.append(self.layer(states[-1], f"encoder.layers.{i}"))
        return states

    def final(self, state):
        """The last state after the final LayerNorm of a pre-LN model."""
        return self.norm(state, "encoder.layer_norm") if self.config["do_stable_layer_norm"] else state

    def features(self, x):
        for i, stride in enumerate(self.config["conv_stride"]):
            path = f"feature_extractor.conv_layers.{i}"
            x = convolution(x, self.tensors[f"{path}.conv.weight"], self.tensors.get(f"{path}.conv.bias"), stride)
            if self.config["feat_extract_norm"] == "layer":
                x = self.norm(x, f"{path}.layer_norm", EPS)
            elif i == 0:
                # A group for each channel, over time.
                x = layer_norm(x.T, 1, 0, EPS).T * self.tensors[f"{path}.layer_norm.weight"]
                x = x + self.tensors[f"{path}.layer_norm.bias"]
            x = gelu(x)
        return x

    def projection(self, x):
        if self.config.get("feat_proj_layer_norm", True):
            x = self.norm(x, "feature_projection.layer_norm")
        return self.linear(x, "feature_projection.projection")

    def positions(self, x):
        path, kernel = "encoder.pos_conv_embed.conv", self.config["num_conv_pos_embeddings"]
        padded = np.pad(x, ((kernel // 2, kernel // 2), (0, 0)))
        groups = self.config["num_conv_pos_embedding_groups"]
        return gelu(convolution(padded, self.positional_weight(path), self.tensors[f"{path}.bias"], 1, groups)[: len(x)])

    def positional_weight(self, path):
        for g, v in (("weight_g", "weight_v"), ("parametrizations.weight.original0", "parametrizations.weight.original1")):
            if f"{path}.{v}" in self.tensors:
                g, v = self.tensors[f"{path}.{g}"], self.tensors[f"{path}.{v}"]
                return g * v / np.sqrt((v**2).sum((0, 1), keepdims=True))
        return self.tensors[f"{path}.weight"]

    def layer(self, x, path):
        if self.config["do_stable_layer_norm"]:
            x = x + self.attention(self.norm(x, f"{path}.layer_norm"), f"{path}.attention")
            return x + self.feed_forward(self.norm(x, f"{path}.final_layer_norm"), path)
        x = self.norm(x + self.attention(x, f"{path}.attention"), f"{path}.layer_norm")
        return self.norm(x + self.feed_forward(x, path), f"{path}.final_layer_norm")

    def attention(self, x, path):
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self.linear(x, f"{path}.{name}_proj").reshape(len(x), heads, -1).transpose(1, 0, 2) for name in ("q", "k", "v")
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ v
        return self.linear(mixed.transpose(1, 0, 2).reshape(len(x), -1), f"{path}.out_proj")

    def feed_forward(self, x, path):
        inner = gelu(self.linear(x, f"{path}.feed_forward.intermediate_dense"))
        return self.linear(inner, f"{path}.feed_forward.output_dense")

    def linear(self, x, path):
        return x @ self.tensors[f"{path}.weight"].T + self.tensors[f"{path}.bias"]

    def norm(self, x, path, eps=None):
        eps = self.config["layer_norm_eps"] if eps is None else eps
        return layer_norm(x, self.tensors[f"{path}.weight"], self.tensors[f"{path}.bias"], eps)
