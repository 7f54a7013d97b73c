"""The function `write_reference`."""

from __future__ import annotations

import copy
import os
from typing import Any

import numpy as np

from ._arrays import ArrayLike, as_floats


def write_reference(model: Any, input_values: ArrayLike, path: str | os.PathLike[str]) -> None:
    """Writes the hidden states that a torch model returns for a clip, as a reference for `verify`.

    Parameters
    ----------
    model
        A model of transformers with the checkpoint's weights, in float32. It is left as it is. Check that transformers
        has loaded all of them: it may leave MERT's positional convolution at random with no more than a warning
        (docs/verify.md loads the weights by name).
    input_values
        The clip as it enters the model, `(samples,)` or `(1, samples)`: mono, at the model's rate, and normalised if the
        model requires it.
    path
        The reference, `NAME.npz`, with `input_values`, `hidden_states` `(layers + 1, frames, hidden_size)`, and
        `hidden_states_f16` and `hidden_states_bf16`: those of the weights rounded as in a file of 16 bits, by which the
        structure of such a file is judged.

    Raises
    ------
    ValueError
        For a name without the ending `.npz`, several clips, and a model that is not in float32 or returns another number
        of hidden states than it has layers, and one.
    """
    import torch

    path = os.fspath(path)
    if not path.endswith(".npz"):
        raise ValueError(f"{path}: expected a name that ends in .npz")
    clip = as_floats(input_values)
    clip = clip[None] if clip.ndim == 1 else clip
    if not np.isfinite(clip).all():
        raise ValueError("input_values have values that are not finite")
    if clip.ndim != 2 or clip.shape[0] != 1:
        raise ValueError(f"input_values have the shape {clip.shape}, expected one clip: (samples,) or (1, samples)")
    model = copy.deepcopy(model).cpu().eval()
    weights = [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    types = sorted({str(weight.dtype) for weight in weights} - {"torch.float32"})
    if types:
        raise ValueError(f"the model has weights in {', '.join(types)}, expected float32: load it with dtype=torch.float32")
    arrays = {"input_values": clip, "hidden_states": _hidden_states(model, clip)}
    # A converted file has the weight norm of the positional convolution fused, then everything rounded.
    parametrize = torch.nn.utils.parametrize
    for module in list(model.modules()):
        if hasattr(module, "weight_g") and hasattr(module, "weight_v"):
            torch.nn.utils.remove_weight_norm(module.double())
        if parametrize.is_parametrized(module, "weight"):
            fused = module.double().weight.detach()
            # torch's remove_parametrizations changes the class, which the model that was given has too.
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module.parametrizations
            module.weight = torch.nn.Parameter(fused)
    weights = [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    exact = [weight.data for weight in weights]
    for name, dtype in {"f16": torch.float16, "bf16": torch.bfloat16}.items():
        for weight, value in zip(weights, exact, strict=True):
            weight.data = value.to(dtype).float()
        arrays[f"hidden_states_{name}"] = _hidden_states(model, clip)
    np.savez(path, **arrays)


def _hidden_states(model: Any, clip: Any) -> Any:
    """The hidden states `(layers + 1, frames, hidden_size)` of a clip."""
    import torch

    with torch.inference_mode():
        output = model(torch.from_numpy(clip), output_hidden_states=True, return_dict=True)
    states = getattr(output, "hidden_states", None)
    if states is not None and not hasattr(output, "last_hidden_state"):
        raise ValueError(
            f"{type(model).__name__} has a head, expected an encoder that returns last_hidden_state: give the model without "
            "it, such as model.hubert"
        )
    expected = model.config.num_hidden_layers + 1
    if states is None or len(states) != expected:
        found = "none" if states is None else len(states)
        raise ValueError(f"the model returns {found} hidden states, expected {expected}: its layers, and one before them")
    # Of a pre-LN model transformers 5 returns the last one before the final LayerNorm, transformers 4 after it.
    return torch.cat([*states[:-1], output.last_hidden_state]).numpy()
