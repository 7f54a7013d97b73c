"""mlx-hubert on both forms that it reads: what `--for mlx-hubert` writes, and what `--for hf` writes."""

import json
import warnings

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_hubert import HubertProcessor, load_model
from safetensors.numpy import load_file, save_file

from checks import convert

# What rounding the weights costs: measured up to 6e-7 and 5e-5.
ROUNDED_WEIGHTS = {"f16": 2e-5, "bf16": 2e-3}

def states_of(folder, samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, _ = load_model(str(folder))
    model.eval()
    output = model(mx.array(samples)[None], output_hidden_states=True)
    return [np.array(state[0].astype(mx.float32)) for state in output.hidden_states]


def check(checks, binaries, source, samples, states, layers, folder, mutants=True, dtypes=ROUNDED_WEIGHTS):
    """Compares the hidden states of both forms with the float64 `states`; the last is the one after a final LayerNorm.

    The form of transformers names the source's class; the package knows that of HuBERT only.
    """
    own = convert(binaries, source, folder / "mlx-hubert", "mlx-hubert")
    hugging_face = convert(binaries, source, folder / "hf", "hf")
    is_hubert = json.loads((hugging_face / "config.json").read_text())["architectures"] == ["HubertModel"]
    model, config = load_model(str(own))
    expected = {name: tuple(value.shape) for name, value in tree_flatten(model.parameters())}
    tensors = load_file(own / "model.safetensors")
    found = {name: value.shape for name, value in tensors.items()}
    checks.that(found == expected, "mlx-hubert: the tensors are the model's own", f"{len(found)} tensors")
    checks.that(config.architectures == ["HubertModel"], "mlx-hubert: the configuration names the class")
    stated = json.loads((own / "preprocessor_config.json").read_text())["do_normalize"]
    checks.that(HubertProcessor.from_pretrained(str(own)).do_normalize == stated, "mlx-hubert: do_normalize is read")
    for form in (own, hugging_face) if is_hubert else (own,):
        actual = states_of(form, samples)
        for layer in layers:
            checks.close(actual[layer], states[layer], f"mlx-hubert from {form.name}: state {layer}")
    for dtype, nmse in dtypes.items():
        rounded = convert(binaries, source, folder / f"mlx-hubert-{dtype}", "mlx-hubert", "--dtype", dtype)
        last = layers[-1]
        checks.close(states_of(rounded, samples)[last], states[last], f"mlx-hubert in {dtype}: state {last}", nmse, 1)
    if not mutants:
        return

    last = layers[-1]
    weights = own / "model.safetensors"
    for what, name in (
        ("a layer", f"encoder.layer_{last - 1}.attention.v_proj.weight"),
        ("the positional convolution", "encoder.pos_conv_embed.conv.weight"),
    ):
        save_file({key: value for key, value in tensors.items() if key != name}, weights, metadata={"format": "mlx"})
        checks.caught(lambda: states_of(own, samples)[last], states[last], f"mlx-hubert: without a tensor of {what}")
    # Other spellings of weight norm leave the positional convolution random in this package.
    weights = hugging_face / "model.safetensors"
    path = "encoder.pos_conv_embed.conv"
    tensors = load_file(weights)
    older = {
        f"{path}.parametrizations.weight.original0": f"{path}.weight_g",
        f"{path}.parametrizations.weight.original1": f"{path}.weight_v",
    }
    save_file({older.get(name, name): value for name, value in tensors.items()}, weights, metadata={"format": "pt"})
    checks.caught(lambda: states_of(hugging_face, samples)[last], states[last], "mlx-hubert: weight_g and weight_v")
