#!/usr/bin/env python3
"""Writes fixtures/pickles/: small files of torch.save with all that training leaves beside and around a model.

    python scripts/make-pickle-fixtures.py [--fixtures fixtures]

A model is here a dictionary of two tensors whose values count up from 0, under names of HuBERT's. Needs torch and
numpy, and transformers for fixtures/README.md. The legacy files name storages by their addresses, so their bytes
differ from run to run.
"""

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import importlib
import os
import pathlib
import tempfile
import uuid
import warnings
import zipfile

import numpy as np
import torch
from torch import nn

fixtures = importlib.import_module("make-fixtures")

CONV0 = "feature_extractor.conv_layers.0.conv.weight"
BIAS = "encoder.layer_norm.bias"
LEGACY = {"_use_new_zipfile_serialization": False}


class Dictionary(dict):
    """A subclass with attributes of its own."""


class Text(str):
    pass


class Kind(enum.Enum):
    A = 1


@dataclasses.dataclass
class Settings:
    rate: float


Pair = collections.namedtuple("Pair", "a b")


def model():
    return {CONV0: torch.arange(6.0).view(2, 1, 3), BIAS: torch.arange(4.0)}


def with_attribute(value):
    value.origin = "somewhere"
    return value


def objects():
    """Kinds of objects that people keep beside a model."""
    dictionary = Dictionary(a=1)
    dictionary.note = "x"
    cyclic = {"a": [1, 2]}
    cyclic["itself"] = cyclic
    layer = Scale()
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    return {
        "namespace": argparse.Namespace(a=1),
        "path": pathlib.PurePosixPath("/a"),
        "random_state": np.random.RandomState(3),
        "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5),
        "counter": collections.Counter("aab"),
        "defaultdict": collections.defaultdict(list, a=[1]),
        "ordered": collections.OrderedDict(a=1),
        "deque": collections.deque([1]),
        "set": {1},
        "frozenset": frozenset([1]),
        "dtype": torch.float16,
        "size": torch.Size([1]),
        "device": torch.device("cpu"),
        "array": np.arange(5),
        "scalar": np.float32(3),
        "enum": Kind.A,
        "partial": functools.partial(max, 1),
        "decimal": decimal.Decimal("1.5"),
        "uuid": uuid.UUID(int=7),
        "complex": 1 + 2j,
        "bytes": b"x" * 300,
        "bytearray": bytearray(b"x"),
        "long": 10**30,
        "negative": -(2**40),
        "float": 1e-3,
        "none": None,
        "surrogate": "\ud800",
        "exception": ValueError("x"),
        "dataclass": Settings(0.1),
        "namedtuple": Pair(1, 2),
        "criterion": layer,
        "sparse": torch.eye(2).to_sparse(),
        "class": Settings,
        "function": collections.namedtuple,
        "complex_tensor": torch.zeros(2, dtype=torch.complex64),
        "conjugate": torch.zeros(2, dtype=torch.complex64).conj(),
        "negated": torch._neg_view(torch.ones(2)),
        "uint16": torch.zeros(2, dtype=torch.uint16),
        "float8": torch.zeros(2).to(torch.float8_e4m3fn),
        "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "meta": torch.zeros(3, device="meta"),
        "storage": torch.zeros(2).storage(),
        "untyped": torch.zeros(2).untyped_storage(),
        "optimizer": optimizer.state_dict(),
        "scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 10).state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "dictionary": dictionary,
        "text": Text("x"),
        "tuple_keys": {(1, ("a", 2)): 3, 4: 5},
        "many": list(range(300)),
        "cyclic": cyclic,
    }


def odd_tensors():
    """The model itself in ways that are read, and beside them in its dictionary what is not."""
    big = torch.arange(100.0)
    parameter = nn.Parameter(torch.arange(4.0))
    parameter.ds_id = 3
    return {
        CONV0: with_attribute(torch.arange(6.0).view(2, 1, 3)),
        BIAS: parameter,
        "transposed": torch.arange(6.0).view(3, 2).t(),
        "expanded": torch.tensor([2.5]).expand(3),
        "sliced": big[10:30:5],
        "double": torch.arange(3.0).double(),
        "half": torch.arange(3.0).half(),
        "long": torch.arange(3),
        "uint16": torch.arange(3).to(torch.uint16),
        "empty": torch.zeros(0),
        "scalar": torch.tensor(7.0),
        "negated": torch._neg_view(torch.ones(2)),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.zeros(3, device="meta"),
        "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "array": np.arange(3),
        "count": 3,
    }


def sharded():
    """A tensor that is spread over ranks, here a single one."""
    import torch.distributed as dist
    from torch.distributed.tensor import Shard, distribute_tensor

    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", rank=0, world_size=1, init_method=f"file://{folder}/group")
        try:
            mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
            return {name: distribute_tensor(value, mesh, [Shard(0)]) for name, value in model().items()}
        finally:
            dist.destroy_process_group()


def big_endian(source, target):
    """What a big-endian machine's torch.save writes: swapped storages, and a byteorder record that says so."""
    with zipfile.ZipFile(source) as little, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as big:
        for info in little.infolist():
            content = little.read(info)
            if "/data/" in info.filename:
                content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            if info.filename.endswith("byteorder"):
                content = b"big"
            # A ZipInfo made from a name alone carries a constant date.
            big.writestr(zipfile.ZipInfo(info.filename), content)


class Scale(nn.Module):
    """Has no module of PyTorch's in it: a legacy file holds the source of every module's class."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.arange(3.0))

    def forward(self, values):
        return values * self.gain


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = pathlib.Path(__file__).resolve().parents[1]
    parser.add_argument("--fixtures", type=pathlib.Path, default=root / "fixtures")
    arguments = parser.parse_args()
    folder = arguments.fixtures / "pickles"
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    torch.manual_seed(1)
    # Classes are pickled by their module's name, which is otherwise that of how the script is run.
    for kind in (Dictionary, Text, Kind, Settings, Pair, Scale):
        kind.__module__ = "__main__"

    checkpoint = {"model": model(), "epoch": 3, **objects()}
    torch.save(checkpoint, folder / "objects.bin")
    torch.save(checkpoint, folder / "objects-protocol4.bin", pickle_protocol=4)
    torch.save(checkpoint, folder / "objects-protocol5.bin", pickle_protocol=5)
    del checkpoint["path"]
    torch.save(checkpoint, folder / "objects-legacy.bin", **LEGACY)
    torch.save(odd_tensors(), folder / "tensors.bin")
    torch.save(odd_tensors(), folder / "tensors-legacy.bin", **LEGACY)
    subclass = collections.defaultdict(dict, model())
    torch.save({"models": [{"state": subclass}]}, folder / "nested.bin")
    torch.save(model(), folder / "little-endian.bin")
    # With this length of a stem the archive's first name has 30 characters, the second entry begins 76 bytes into the
    # directory, and some readers take it for the first.
    torch.save(model(), folder / "stem-of-21-characters.bin")
    big_endian(folder / "little-endian.bin", folder / "big-endian.bin")
    os.remove(folder / "little-endian.bin")
    torch.save(sharded(), folder / "dtensor.bin")
    torch.save(Scale(), folder / "module.bin")
    torch.save({"net": {"m": Scale()}, "epoch": 1}, folder / "module-legacy.bin", **LEGACY)
    torch.jit.save(torch.jit.trace(Scale(), torch.zeros(3)), folder / "torchscript.pt")
    torch.export.save(torch.export.export(Scale(), (torch.zeros(3),)), folder / "exported.pt2")
    linear = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(2)).sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")

    # torch 2.13 cannot load its own legacy file again if that holds an untyped storage.
    for name in ("objects.bin", "objects-protocol4.bin", "objects-protocol5.bin"):
        loaded = torch.load(folder / name, weights_only=False)
        assert all(torch.equal(loaded["model"][key], value) for key, value in model().items())
    fixtures.write_readme(arguments.fixtures)
    for path in sorted(folder.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
