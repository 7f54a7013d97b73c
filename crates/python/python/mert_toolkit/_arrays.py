"""Arrays of audio from numpy, torch and other libraries: mono, float32, one after the other in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Audio and frames: numpy arrays, torch tensors, and whatever has DLPack or the array interface.
ArrayLike = Any

# The devices in torch's words.
DEVICES = {"mps": "metal", "gpu": "cuda"}

# More channels than recordings have, those of 7.1 sound: a longer first axis is a batch, or samples.
MAX_CHANNELS = 8


def as_numpy(array: ArrayLike) -> NDArray[Any]:
    """The array as numpy's, without a copy where its library allows that: through `__dlpack__` or the array interface."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "detach"):  # a torch tensor, of which numpy takes neither gradients nor those of a GPU
        array = array.detach().cpu()
        if str(array.dtype) == "torch.bfloat16":  # which numpy does not have
            array = array.float()
    if hasattr(array, "__dlpack__"):
        try:
            return np.from_dlpack(array)
        except (BufferError, RuntimeError, TypeError):
            pass
    return np.asarray(array)


def as_floats(array: ArrayLike) -> NDArray[np.float32]:
    """The array as float32. Integers are the samples of PCM, and become numbers from -1 to 1.

    Raises TypeError for values that are no numbers of audio.
    """
    array = as_numpy(array)
    if array.dtype == np.float32:
        return array
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(np.float32)
    if array.dtype.kind == "i" and array.dtype.itemsize in (2, 4):
        return (array / 2.0 ** (8 * array.dtype.itemsize - 1)).astype(np.float32)
    if array.dtype == np.uint8:
        return ((array.astype(np.float32) - 128) / 128).astype(np.float32)
    raise TypeError(
        f"audio has the type {array.dtype}, expected floats, or PCM as int16, int32 or uint8; files are for encode_files"
    )


def as_mono(audio: ArrayLike) -> NDArray[np.float32]:
    """Samples as a line of float32, in memory order: `(samples,)`, or the mean of the channels of `(channels, samples)`.

    Raises ValueError for another shape, for no samples, and for values that are not finite.
    """
    samples = as_floats(audio)
    if samples.size == 0:
        raise ValueError("audio has no samples")
    if samples.ndim == 2:
        channels, length = samples.shape
        if channels > MAX_CHANNELS or channels > length:
            raise ValueError(
                f"audio has the shape {samples.shape}, expected (samples,) or (channels, samples): "
                "transpose it if its channels come last, give several clips to encode_batch"
            )
        samples = samples[0] if channels == 1 else samples.mean(axis=0, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(
            f"audio has the shape {samples.shape}, expected (samples,) or (channels, samples); "
            "encode_batch takes several clips, as a list or as an array with one more axis in front"
        )
    finite = np.isfinite(samples)
    if not finite.all():
        at = int(np.argmin(finite))
        raise ValueError(f"audio: sample {at} is {samples[at]} as float32, expected finite values")
    return np.ascontiguousarray(samples)


def as_rate(sr: float) -> int:
    """A sample rate as a whole number of hertz; ValueError for anything else."""
    is_number = isinstance(sr, (int, float, np.integer, np.floating)) and not isinstance(sr, bool)
    if not is_number or not 1 <= sr <= 2**31 or int(sr) != sr:
        raise ValueError(f"sr: {sr!r}, expected a whole number of hertz")
    return int(sr)


def as_layers(layer: Any) -> str:
    """Hidden states as the options of the commands list them; ValueError for what are none."""
    if isinstance(layer, str):
        return layer
    is_one = isinstance(layer, (int, np.integer)) or not isinstance(layer, Iterable)
    layers = [layer] if is_one else list(layer)
    if not layers:
        raise ValueError("layer: no hidden state is given")
    for value in layers:
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            raise ValueError(f"layer: {value!r}, expected a whole number, a list of them, or a text such as 'all'")
    return ",".join(str(int(value)) for value in layers)


def as_device(device: object) -> str:
    """A device in the words of the commands: torch's `mps`, `gpu`, `cuda:0` and `torch.device` are known.

    Raises ValueError for another processor than the first of its kind.
    """
    name, _, index = str(device).partition(":")
    if index not in ("", "0"):
        raise ValueError(f"device: {device}, expected the first of its kind: choose one with CUDA_VISIBLE_DEVICES, and give {name}")
    return DEVICES.get(name, name)


def as_frames(embeddings: ArrayLike) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """Frames `(frames, dim)` as float32 in memory order, and the shape without its last axis."""
    frames = as_numpy(embeddings)
    if frames.ndim == 0 or frames.dtype.kind != "f":
        raise ValueError(
            f"embeddings have the shape {frames.shape} and the type {frames.dtype}, expected floats (..., dim)"
        )
    shape = frames.shape[:-1]
    frames = np.ascontiguousarray(frames, dtype=np.float32).reshape(-1, frames.shape[-1])
    return frames, shape
