"""The conversion as a plain Python script, beside which `mert-convert` is timed.

    python scripts/bench/convert_baseline.py CHECKPOINT OUTPUT.safetensors
"""

import sys

import torch
from safetensors.torch import save_file

POSITIONAL = "encoder.pos_conv_embed.conv.weight"

checkpoint, output = sys.argv[1:]
state = torch.load(checkpoint, map_location="cpu", weights_only=True)
state.pop("masked_spec_embed", None)
g, v = state.pop(f"{POSITIONAL}_g"), state.pop(f"{POSITIONAL}_v")
state[POSITIONAL] = g * v / v.norm(dim=(0, 1), keepdim=True)
converted = {
    name: (tensor.transpose(1, 2) if tensor.ndim == 3 else tensor).half().contiguous() for name, tensor in state.items()
}
save_file(converted, output, metadata={"format": "mlx"})
