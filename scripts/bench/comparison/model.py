"""The checkpoint in the transformers class of its family, and its ONNX export."""

import argparse
import importlib
import json
import sys
import warnings
from pathlib import Path

import torch
from torch.nn.utils import parametrize
from transformers import AutoConfig, AutoModel

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
INPUT = "input_values"
# The newest that the TorchScript exporter writes and that all of ONNX Runtime's fusions know. Graphs from
# the newer exporter, with Gelu (opset 20) or Attention (opset 23) as one operator, ran slower there.
OPSET = 17
# What quantized models are calibrated on. None of it is in a clip that is timed.
CALIBRATION_CLIPS, CALIBRATION_SECONDS = 8, 5


def fixtures():
    """The module scripts/fixtures/reference_model.py, which has the checkpoint's names and builds the model."""
    if str(FIXTURES) not in sys.path:
        sys.path.insert(0, str(FIXTURES))
    return importlib.import_module("reference_model")


def sample_rate(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    return config.get("sample_rate", 16000)


def calibration_clips(checkpoint):
    """Music for the calibration of quantized models, each (1, samples)."""
    rate = sample_rate(checkpoint)
    for number in range(CALIBRATION_CLIPS):
        label = f"calibration {number}"
        yield fixtures().music(label, CALIBRATION_SECONDS * rate, rate)[None]


def weights_file(folder):
    """The weights in a checkpoint's folder; None if there are none."""
    files = (folder / "pytorch_model.bin", folder / "model.safetensors")
    return next((file for file in files if file.is_file()), None)


def read_state(file):
    if file.suffix == ".safetensors":
        import safetensors.torch

        return safetensors.torch.load_file(file)
    return torch.load(file, weights_only=True, mmap=True)


def family_model(config, state):
    """The model of the family's own class with these weights, by names of either spelling of weight norm."""
    settings = AutoConfig.for_model(config["model_type"])
    for name, value in config.items():
        if hasattr(settings, name):
            setattr(settings, name, value)
    model = AutoModel.from_config(settings, attn_implementation="eager", dtype=torch.float32)
    model.load_state_dict(fixtures().parametrized(state), strict=True)
    return model


class AllHiddenStates(torch.nn.Module):
    """Input values (1, samples) to the layers + 1 hidden states, each (1, frames, width)."""

    def __init__(self, folder, attention):
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        state = read_state(weights_file(folder))
        if config["model_type"] == "mert_model":
            self.model = fixtures().load_weight_norm(config, state)
        else:
            self.model = family_model(config, state)
        # Computed once, not in every run.
        conv = getattr(self.model.encoder.pos_conv_embed, "conv", None)
        if conv is not None and parametrize.is_parametrized(conv):
            parametrize.remove_parametrizations(conv, "weight")
        self.model.set_attn_implementation(attention)
        self.eval()

    def forward(self, input_values):
        output = self.model(input_values, output_hidden_states=True)
        states = list(output.hidden_states)
        if getattr(self.model.config, "do_stable_layer_norm", False):
            # transformers 5 leaves out the encoder's last norm here.
            states[-1] = output.last_hidden_state
        return tuple(states)


def export(folder, output, samples):
    """Writes an ONNX file for clips of any length."""
    model = AllHiddenStates(folder, "eager")
    names = [f"hidden_state_{i}" for i in range(model.model.config.num_hidden_layers + 1)]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(1, samples),),
            output,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={INPUT: {1: "samples"}} | {name: {1: "frames"} for name in names},
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=export.__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--samples", type=int, required=True)
    arguments = parser.parse_args()
    export(arguments.checkpoint, arguments.output, arguments.samples)
