"""mlx-contentvec on what `mert-convert --for mlx-contentvec` writes.

The package loads a file that lacks a tensor without a word and leaves the tensor random, so its outputs are compared, and
files with defects must show.
"""

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_contentvec import ContentvecModel
from safetensors.numpy import load_file, save_file

from checks import convert

POSITIONAL = "encoder.pos_conv.layers.0"


def build(config):
    """The class with the arguments that a configuration needs; HuBERT base needs `encoder_layers_1` alone."""
    sizes = zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"])
    model = ContentvecModel(
        conv_feature_layers=str(list(sizes)),
        conv_bias=config["conv_bias"],
        extractor_mode="layer_norm" if config["feat_extract_norm"] == "layer" else "default",
        encoder_embed_dim=config["hidden_size"],
        encoder_ffn_embed_dim=config["intermediate_size"],
        encoder_attention_heads=config["num_attention_heads"],
        encoder_layers=config["num_hidden_layers"],
        encoder_layers_1=0,
        conv_pos=config["num_conv_pos_embeddings"],
        conv_pos_groups=config["num_conv_pos_embedding_groups"],
        layer_norm_first=config["do_stable_layer_norm"],
    )
    return model


def output(model, path, samples, layer):
    model.load_weights(str(path))
    model.eval()
    return np.array(model(mx.array(samples)[None], output_layer=layer)["x"][0])


def check(checks, binaries, source, config, samples, states, layers, folder, mutants=True):
    """Compares the layers' outputs with the float64 `states`, and does the same to files with defects."""
    path = convert(binaries, source, folder / "contentvec.safetensors", "mlx-contentvec")
    tensors = load_file(path)
    model = build(config)
    expected = {name: tuple(value.shape) for name, value in tree_flatten(model.parameters())}
    found = {name: value.shape for name, value in tensors.items()}
    checks.that(found == expected, "mlx-contentvec: the tensors are the model's own", f"{len(found)} tensors")
    checks.that(all(value.dtype == np.float32 for value in tensors.values()), "mlx-contentvec: all are f32")
    for layer in layers:
        checks.close(output(model, path, samples, layer), states[layer], f"mlx-contentvec: layer {layer}")
    if not mutants:
        return

    last = layers[-1]

    def torch_order(name):
        """The values in torch's order under MLX's shape, as from a converter that forgets to transpose."""
        value = tensors[name]
        return {name: np.ascontiguousarray(value.transpose(0, 2, 1)).reshape(value.shape)}

    def lacking(name):
        return {key: value for key, value in tensors.items() if key != name}

    for what, defective in (
        ("without a tensor of the last layer", lacking(f"encoder.layers.{last - 1}.fc1.weight")),
        ("without a tensor of the first convolution's norm", lacking("feature_extractor.conv_layers.0.norm.weight")),
        ("without g", lacking(f"{POSITIONAL}.g")),
        ("without v", lacking(f"{POSITIONAL}.v")),
        ("g of ones", tensors | {f"{POSITIONAL}.g": np.ones_like(tensors[f"{POSITIONAL}.g"])}),
        ("v in torch's order", tensors | torch_order(f"{POSITIONAL}.v")),
        ("a convolution in torch's order", tensors | torch_order("feature_extractor.conv_layers.1.conv.weight")),
    ):
        save_file(defective, folder / "mutant.safetensors")
        fresh = build(config)
        mutant = f"mlx-contentvec: {what}"
        checks.caught(lambda: output(fresh, folder / "mutant.safetensors", samples, last), states[last], mutant)
    # The fused weight is there for completeness: the class overwrites it.
    save_file(tensors | {f"{POSITIONAL}.module.weight": tensors[f"{POSITIONAL}.v"] * 0}, folder / "mutant.safetensors")
    same = output(build(config), folder / "mutant.safetensors", samples, last)
    checks.close(same, states[last], "mlx-contentvec: the fused weight is not used")


def check_from_pretrained(checks, path, samples, state, layer):
    """The call of the package's own README, for a file of HuBERT base's architecture."""
    model = ContentvecModel.from_pretrained(weights_path=path)
    actual = np.array(model(mx.array(samples)[None], output_layer=layer)["x"][0])
    checks.close(actual, state, f"mlx-contentvec: from_pretrained, layer {layer}")
