"""Arrays of audio from numpy, torch and other libraries: mono, float32, one after the other in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Audio and frames: numpy arrays, torch tensors, and whatever has DLPack or the array interface.
ArrayLike = Any

# More channels than recordings have: a first axis longer than this is taken for samples.
MAX_CHANNELS = 32


def as_numpy(array: ArrayLike) -> NDArray[Any]:
    """The array as numpy's, without a copy where its library allows that: through `__dlpack__` or the array interface."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "detach"):  # a torch tensor, of which numpy takes neither gradients nor those of a GPU
        array = array.detach().cpu()
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
        return array.astype(np.float32)
    if array.dtype.kind == "i" and array.dtype.itemsize in (2, 4):
        return (array / 2.0 ** (8 * array.dtype.itemsize - 1)).astype(np.float32)
    if array.dtype == np.uint8:
        return ((array.astype(np.float32) - 128) / 128).astype(np.float32)
    raise TypeError(
        f"audio has the type {array.dtype}, expected floats, or PCM as int16, int32 or uint8"
    )


def as_mono(audio: ArrayLike) -> NDArray[np.float32]:
    """Samples as a line of float32, in memory order: `(samples,)`, or the mean of the channels of `(channels, samples)`.

    Raises ValueError for another shape, for no samples, and for values that are not finite.
    """
    samples = as_floats(audio)
    if samples.ndim == 2:
        channels, length = samples.shape
        if channels > MAX_CHANNELS or channels > length:
            raise ValueError(
                f"audio has the shape {samples.shape}, expected (samples,) or (channels, samples): "
                "transpose it if its channels come last"
            )
        samples = samples[0] if channels == 1 else samples.mean(axis=0, dtype=np.float32)
    if samples.ndim != 1:
        raise ValueError(
            f"audio has the shape {samples.shape}, expected (samples,) or (channels, samples); "
            "give several clips to encode_batch"
        )
    if samples.size == 0:
        raise ValueError("audio has no samples")
    finite = np.isfinite(samples)
    if not finite.all():
        at = int(np.argmin(finite))
        raise ValueError(f"audio: sample {at} is {samples[at]}, expected finite values")
    return np.ascontiguousarray(samples)


def as_rate(sr: float) -> int:
    """A sample rate as a whole number of hertz; ValueError for anything else."""
    rate = int(sr)
    if rate != sr or not 1 <= rate <= 2**31:
        raise ValueError(f"sr: {sr}, expected a whole number of hertz")
    return rate


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
