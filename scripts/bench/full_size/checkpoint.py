"""Writes upstream's files of an Instruct-MusicGen with random weights, of any shape, and a clip; a process of its own."""

import math
import shutil
import sys
import wave
import zlib
from pathlib import Path

import numpy as np
import torch
from transformers import EncodecConfig, EncodecModel, T5Config, T5EncoderModel

from shape import FILES, Shape
from torch_zip import Tensor, save

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts/fixtures"))

from musicgen_upstream import OUTPUT_PROJ, codec_cfg, lightning_state, lm_cfg, package, to_audiocraft_codec  # noqa: E402
from musicgen_weights import ENCODEC, T5, music  # noqa: E402

RANK = 32
PIECE = 1 << 22
CODEBOOKS = 4
# t5-base and encodec_32khz.
T5_BASE = T5 | dict(d_model=768, d_kv=64, num_heads=12, d_ff=3072, num_layers=12, num_decoder_layers=12, vocab_size=32128)
ENCODEC_32KHZ = ENCODEC | dict(target_bandwidths=[2.2], hidden_size=128, num_filters=64, codebook_size=2048)


class Pool:
    """Normal values: slices of one block, which begin elsewhere for each name."""

    def __init__(self):
        self.block = torch.from_numpy(np.random.default_rng(2026).standard_normal(PIECE + (1 << 20), dtype=np.float32))

    def tensor(self, name, shape, scale, dtype, mean=0.0):
        def pieces():
            total, done = math.prod(shape), 0
            while done < total:
                begin = zlib.crc32(f"{name} {done}".encode()) % (1 << 20)
                count = min(PIECE, total - done)
                yield (self.block[begin : begin + count] * scale + mean).to(dtype)
                done += count

        return Tensor(shape, dtype, pieces)


def language_model(pool, shape):
    """audiocraft's tensors in float16."""
    d, f, card = shape.width, shape.inner, shape.card
    root, state = d**-0.5, {}

    def add(name, size, scale, mean=0.0):
        state[name] = pool.tensor(name, size, scale, torch.float16, mean)

    for k in range(CODEBOOKS):
        add(f"emb.{k}.weight", (card + 1, d), 0.5)
    for i in range(shape.layers):
        layer = f"transformer.layers.{i}"
        for norm in ("norm1", "norm_cross", "norm2"):
            add(f"{layer}.{norm}.weight", (d,), 0.1, 1.0)
            add(f"{layer}.{norm}.bias", (d,), 0.1)
        for block in ("self_attn", "cross_attention"):
            add(f"{layer}.{block}.in_proj_weight", (3 * d, d), root)
            add(f"{layer}.{block}.out_proj.weight", (d, d), root / 4)
        add(f"{layer}.linear1.weight", (f, d), root)
        add(f"{layer}.linear2.weight", (d, f), f**-0.5 / 4)
    add("out_norm.weight", (d,), 0.1, 1.0)
    add("out_norm.bias", (d,), 0.1)
    for k in range(CODEBOOKS):
        add(f"linears.{k}.weight", (card, d), root)
    text = (T5 if shape.small_parts else T5_BASE)["d_model"]
    add(f"{OUTPUT_PROJ}.weight", (d, text), text**-0.5)
    add(f"{OUTPUT_PROJ}.bias", (d,), 0.1)
    return state


def checkpoint(pool, shape, base):
    """The .ckpt: the base in float16, frozen copies and the adapter in float32, and with `adam` two moments of what is trained."""
    d, layers, root = shape.width, shape.layers, shape.width**-0.5

    def single(name, size, scale):
        return pool.tensor(name, size, scale, torch.float32)

    cp = {"pos_emb": single("pos_emb", (layers + 1, shape.rows, d), 0.5), "gates": single("gates", (layers,), 0.3)}
    cp |= {f"merge_linear.{i}.weight": single(f"merge {i}", (d, d), root) for i in range(layers)}
    frozen, lora = {}, {}
    for i in range(layers):
        for block in ("self_attn", "cross_attention"):
            for part in "qkv":
                name = f"{i}.{block}.{part}_proj"
                frozen[name] = single(name, (d, d), root * (2 * (i + 1)) ** -0.5)
        for part in "qv":
            name = f"{i}.cross_attention.{part}_proj.lora"
            lora[f"{name}_A.default.weight"] = single(f"{name} A", (RANK, d), root)
            lora[f"{name}_B.default.weight"] = single(f"{name} B", (d, RANK), 0.3 * RANK**-0.5)
    state, trained = lightning_state(base, cp, frozen, lora)
    moments = {}
    if shape.adam:
        for i, name in enumerate(trained):
            size = state[name].shape
            parts = {"exp_avg": single(f"{name} 1", size, 1e-4), "exp_avg_sq": single(f"{name} 2", size, 1e-8)}
            moments[i] = {"step": 5000.0, **parts}
    group = {"lr": 0.005, "params": list(range(len(trained)))}
    return {
        "epoch": 9,
        "global_step": 5000,
        "pytorch-lightning_version": "2.2.1",
        "state_dict": state,
        "optimizer_states": [{"state": moments, "param_groups": [group]}],
    }


def bytes_of(tree):
    """The size of the tensors of a tree, each counted once."""
    found = {}

    def walk(value):
        if isinstance(value, Tensor):
            found[id(value)] = value.bytes
        elif isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                walk(part)

    walk(tree)
    return sum(found.values())


def save_codec(folder, shape):
    config = ENCODEC if shape.small_parts else ENCODEC_32KHZ
    config = config | {"codebook_size": shape.card, "target_bandwidths": [math.ceil(math.log2(shape.card)) * CODEBOOKS * 0.05]}
    model = EncodecModel(EncodecConfig(**config))
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    state = {name: tensor.detach() for name, tensor in to_audiocraft_codec(model.state_dict()).items()}
    torch.save(package(state, codec_cfg(config, "reflect")), folder / "compression_state_dict.bin")


def make(folder, shape):
    """Writes the files that are not there yet for this shape."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "shape.txt"
    if stamp.is_file() and stamp.read_text() == str(shape):
        print(f"{folder}: made by an earlier call", file=sys.stderr)
        return
    pool = Pool()
    base = language_model(pool, shape)
    trees = {"state_dict.bin": package(base, lm_cfg(shape.width, shape.heads, shape.layers, shape.inner, shape.card))}
    trees["finetuned.ckpt"] = checkpoint(pool, shape, base)
    sizes = {name: bytes_of(tree) for name, tree in trees.items()}
    free = shutil.disk_usage(folder).free
    # Besides a piece of a copy, the bundle, and what is smaller.
    need = sum(sizes.values()) + (2 << 30) + sizes["state_dict.bin"] // 2 + 10**9
    told = ", ".join(f"{name} {size / 1e9:.2f} GB" for name, size in sizes.items())
    print(f"writing {told}, codec and T5 0.7 GB; {need / 1e9:.0f} GB of disk at the most, {free / 1e9:.0f} GB are free", file=sys.stderr)
    if need > free:
        raise SystemExit(f"{folder}: not enough disk")
    torch.manual_seed(2026)
    with torch.no_grad():
        save_codec(folder, shape)
        T5EncoderModel(T5Config(**(T5 if shape.small_parts else T5_BASE), use_cache=False)).save_pretrained(folder / "t5")
    shutil.copyfile(ROOT / "fixtures/musicgen/instruct/t5/tokenizer.json", folder / "t5/tokenizer.json")
    for name, tree in trees.items():
        save(tree, folder / name)
    stamp.write_text(str(shape))


def write_clip(path, seconds):
    samples = music("full size", int(seconds * 32000))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(32000)
        file.writeframes((samples * 2**15).astype("<i2").tobytes())


def main():
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    folder = Path(options["folder"])
    make(folder, Shape.of(options))
    write_clip(folder / "clip.wav", float(options["seconds"]))
    total = sum((folder / name).stat().st_size for name in FILES)
    print(f"{folder}: {total / 1e9:.2f} GB", file=sys.stderr)


if __name__ == "__main__":
    main()
