"""A checkpoint of HuBERT base's size, as transformers saves it, with weights that keep activations at a published model's size."""

import math

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import HubertConfig, HubertModel

PREPROCESSOR = '{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": false, "sampling_rate": 16000}'
G = "parametrizations.weight.original0"


def draw(name, shape, rng):
    """Nothing at its default: norms with gains and biases, and a magnitude that differs from tap to tap."""
    normal = rng.standard_normal(shape, dtype=np.float32)
    if name.endswith(G):
        return math.sqrt(48 / shape[-1]) * np.exp(0.3 * normal)
    if name.endswith("layer_norm.weight"):
        return 1 + 0.1 * normal
    if name.endswith("bias") or name == "masked_spec_embed":
        return 0.1 * normal
    return normal / math.sqrt(math.prod(shape[1:]))


def write(folder, seed=13):
    """Writes model.safetensors, config.json and preprocessor_config.json."""
    config = HubertConfig(architectures=["HubertModel"])
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in HubertModel(config).state_dict().items()}
    rng = np.random.default_rng(seed)
    tensors = {name: torch.from_numpy(draw(name, shape, rng)) for name, shape in shapes.items()}
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(PREPROCESSOR)
