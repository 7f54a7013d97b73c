"""Files of torch.save written a storage at a time, for checkpoints larger than memory."""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict

import torch

ALIGNMENT = 64


class Tensor:
    """A tensor to be written: its shape, and `pieces()`, which yields its values in torch tensors. Named twice, it is stored once."""

    def __init__(self, shape, dtype, pieces):
        self.shape, self.dtype, self.pieces = tuple(shape), dtype, pieces

    def __reduce__(self):
        stride = [math.prod(self.shape[i + 1 :]) for i in range(len(self.shape))]
        return torch._utils._rebuild_tensor_v2, (Storage(self), 0, self.shape, tuple(stride), False, OrderedDict())

    @property
    def bytes(self):
        return math.prod(self.shape) * self.dtype.itemsize


class Storage:
    def __init__(self, tensor):
        self.tensor = tensor


class Pickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.keys = {}

    def persistent_id(self, thing):
        if not isinstance(thing, Storage):
            return None
        tensor = thing.tensor
        key = self.keys.setdefault(id(tensor), (str(len(self.keys)), tensor))[0]
        kind = {torch.float16: torch.HalfStorage, torch.float32: torch.FloatStorage}[tensor.dtype]
        return "storage", kind, key, "cpu", math.prod(tensor.shape)


def aligned(name, offset):
    """The header of an entry whose data begin at a multiple of 64 bytes, padded as PyTorch does it."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    # The header has 30 bytes, the name, zip64's field of 20 bytes, which `open` adds, and this one with 4 bytes of its own.
    begin = offset + 30 + len(name) + 20 + 4
    info.extra = struct.pack("<HH", 0x4246, -begin % ALIGNMENT) + b"Z" * (-begin % ALIGNMENT)
    return info


def save(value, path, name="archive"):
    """Writes `value`, a tree with `Tensor` in it, as torch.save does."""
    pickled = io.BytesIO()
    pickler = Pickler(pickled)
    pickler.dump(value)
    with zipfile.ZipFile(path, "w", allowZip64=True) as file:

        def add(entry, pieces):
            with file.open(aligned(f"{name}/{entry}", file.fp.tell()), "w", force_zip64=True) as out:
                for piece in pieces:
                    out.write(piece)

        add("data.pkl", [pickled.getvalue()])
        add("byteorder", [b"little"])
        for key, tensor in pickler.keys.values():
            add(f"data/{key}", (memoryview(piece.contiguous().numpy()).cast("B") for piece in tensor.pieces()))
        add("version", [b"3\n"])
