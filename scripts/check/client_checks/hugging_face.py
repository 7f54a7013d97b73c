"""transformers on what `mert-convert --for hf` writes: no missing, unexpected or mismatched tensor, and the outputs of the
source's own folder, bit for bit in f32. RVC's subclass with `final_proj`.
"""

import json

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from checks import convert

PATH = "encoder.pos_conv_embed.conv"


def class_of(folder):
    """The class that config.json names; MERT has none in transformers, where HubertModel computes the same."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    return getattr(transformers, name, transformers.HubertModel)


def load(folder, model_class=None):
    model_class = model_class or class_of(folder)
    model, info = model_class.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    return model.eval(), {key: sorted(found) for key, found in info.items() if found}


def states_of(model, samples):
    with torch.no_grad():
        return model(torch.from_numpy(samples)[None], output_hidden_states=True).hidden_states


def check(checks, binaries, source, samples, folder, dtypes=("f16", "bf16"), options=()):
    """Loads the folder strictly and compares it with the source as transformers itself loads it."""
    name = f"{class_of(source).__name__} of {source.name}"
    output = convert(binaries, source, folder / "strict", "hf", *options)
    model, problems = load(output)
    checks.that(not problems, f"{name}: loads strictly", str(problems) if problems else f"{len(model.state_dict())} tensors")
    expected = states_of(load(source)[0], samples)
    actual = states_of(model, samples)
    same = len(actual) == len(expected) and all(map(torch.equal, actual, expected))
    checks.that(same, f"{name}: the same outputs, bit for bit", f"{len(actual)} states")
    for dtype in dtypes:
        rounded, problems = load(convert(binaries, source, folder / f"strict-{dtype}", "hf", "--dtype", dtype, *options))
        stored = {"f16": torch.float16, "bf16": torch.bfloat16}[dtype]
        is_stored = rounded.dtype == stored and not problems
        checks.that(is_stored, f"{name}: loads strictly in {dtype}", str(problems) if problems else str(rounded.dtype))
    return output, expected


def check_states(checks, folder, samples, states, layers):
    """Loads a converted folder strictly and compares it with the float64 `states`."""
    model, problems = load(folder)
    name = type(model).__name__
    checks.that(not problems, f"{name}: loads strictly", str(problems) if problems else f"{len(model.state_dict())} tensors")
    actual = states_of(model, samples)
    for layer in layers:
        checks.close(actual[layer][0].numpy(), states[layer], f"{name}: state {layer}")


def check_fused(checks, binaries, source, samples, folder):
    """A source whose positional weight is fused already: the factors are its norms and itself."""
    expected = states_of(load(source)[0], samples)
    fused = folder / "fused"
    fused.mkdir(exist_ok=True)
    tensors = load_file(source / "model.safetensors")
    g, v = (tensors.pop(f"{PATH}.parametrizations.weight.original{i}") for i in (0, 1))
    tensors[f"{PATH}.weight"] = torch._weight_norm(v, g, 2)
    save_file(tensors, fused / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "preprocessor_config.json"):
        (fused / name).write_text((source / name).read_text())
    model, problems = load(convert(binaries, fused, folder / "from-fused", "hf"))
    checks.that(not problems, "HubertModel of a fused weight: loads strictly", str(problems))
    for i, (actual, state) in enumerate(zip(states_of(model, samples), expected)):
        checks.close(actual[0].numpy(), state[0].numpy(), f"HubertModel of a fused weight: state {i}")


def check_mutants(checks, output, samples, expected):
    """Folders with defects must show in what is compared."""
    weights = output / "model.safetensors"
    tensors = load_file(weights)
    for what, defective in (
        ("a missing tensor", {name: value for name, value in tensors.items() if not name.endswith("original0")}),
        ("an unexpected tensor", tensors | {"encoder.layers.9.final_layer_norm.bias": torch.zeros(1)}),
    ):
        save_file(defective, weights, metadata={"format": "pt"})
        checks.that(load(output)[1], f"mutant {what}")
    v = f"{PATH}.parametrizations.weight.original1"
    save_file(tensors | {v: tensors[v].flip(2)}, weights, metadata={"format": "pt"})
    same = all(map(torch.equal, states_of(load(output)[0], samples), expected))
    checks.that(not same, "mutant taps reversed")
    save_file(tensors, weights, metadata={"format": "pt"})


class HubertModelWithFinalProj(transformers.HubertModel):
    """RVC's class, by its definition: `final_proj` from the width to `classifier_proj_size`."""

    def __init__(self, config):
        super().__init__(config)
        self.final_proj = torch.nn.Linear(config.hidden_size, config.classifier_proj_size)


def check_voice_conversion(checks, binaries, source, folder):
    """The features of RVC's v1 and v2 voice models, from a converted folder with `final_proj`."""
    reference = np.load(source / "reference.npz")
    output = convert(binaries, source, folder / "voice", "hf", "--keep", "final_proj")
    model, problems = load(output, HubertModelWithFinalProj)
    checks.that(not problems, "RVC's class with final_proj: loads strictly", str(problems))
    samples = reference["input_values"]
    states = states_of(model, samples)
    with torch.no_grad():
        v1 = model.final_proj(states[9])[0].numpy()
    checks.close(v1, reference["v1"], "RVC's class: v1, layer 9 through final_proj")
    checks.close(states[12][0].numpy(), reference["v2"], "RVC's class: v2, layer 12")
    plain, problems = load(output)
    checks.that(problems == {"unexpected_keys": ["final_proj.bias", "final_proj.weight"]}, "HubertModel leaves it out", str(problems))
