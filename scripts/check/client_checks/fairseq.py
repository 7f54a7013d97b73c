"""A ContentVec of full size in fairseq's format, as RVC's `hubert_base.pt` is one, read and renamed for the forward pass."""

import re
import subprocess
import sys
import types
from pathlib import Path

import torch

MAKE = Path(__file__).resolve().parents[2] / "fixtures/make_fairseq.py"
CONFIG = {
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "feat_extract_norm": "group",
    "do_stable_layer_norm": False,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "layer_norm_eps": 1e-5,
}
# fairseq's names in transformers, in this order.
RENAMES = (
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.0)\.2\.", r"\1.layer_norm."),
    (r"^encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)


def write(path):
    """Writes the checkpoint: 214 tensors in float16, and an object of a class of fairseq's."""
    subprocess.run([sys.executable, MAKE, "--full", path], check=True, stdout=subprocess.DEVNULL)


def read(path):
    """The tensors under transformers' names. torch needs a class of the name that the file has."""
    module = types.ModuleType("fairseq.data.dictionary")
    module.Dictionary = type("Dictionary", (), {"__module__": module.__name__})
    for name in ("fairseq", "fairseq.data"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules[module.__name__] = module
    with torch.serialization.safe_globals([module.Dictionary]):
        tensors = torch.load(path, weights_only=True)["model"]
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor.float().numpy()
    return renamed
