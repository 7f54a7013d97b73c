"""The class `Encoder`: audio to embeddings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._arrays import ArrayLike, as_device, as_layers, as_mono, as_rate
from ._warnings import warn


@dataclass(frozen=True)
class WindowEmbedding:
    """The embedding of one window of a recording."""

    start: float
    """Seconds from the start of the recording to the start of the window."""
    end: float
    """Seconds from the start of the recording to the end of the window."""
    embedding: NDArray[np.float32]
    """The window's embedding, in the shape that `Encoder.encode` returns."""


@dataclass(frozen=True)
class FileEmbedding:
    """The embeddings of a file."""

    path: str
    """The file."""
    windows: list[WindowEmbedding]
    """A `WindowEmbedding` for each window that is not silent."""
    notes: list[str]
    """Sentences about what was skipped in the file and what was assumed."""

    @property
    def embedding(self) -> NDArray[np.float32]:
        """The embedding of the only window; ValueError if there are several."""
        if len(self.windows) != 1:
            raise ValueError(f"{self.path} has {len(self.windows)} windows: use windows")
        return self.windows[0].embedding


@dataclass(frozen=True)
class FileFailure:
    """A file that could not be embedded."""

    path: str
    """The file."""
    error: Exception
    """The exception, whose text says why."""


class Encoder:
    """A converted model that turns audio into embeddings.

    Parameters
    ----------
    model
        A converted `.safetensors` file, a folder that holds one, or a model of the Hugging Face hub such as
        `m-a-p/MERT-v1-95M`, which is downloaded and converted once, into the toolkit's cache.
    layer
        The hidden states to return: 6, -1 (the last), a list of them, or `"all"`. 0 enters the first layer, i is the
        output of layer i.
    pooling
        `"mean"`, `"max"` or `"mean+std"` (twice as long) over the frames, or `None` for a vector of each frame.
    normalize
        True scales each vector to a Euclidean length of 1.
    device
        `"cpu"`, `"metal"` (or `"mps"`) or `"cuda"`, in wheels that were built for them; `"auto"` for the first that is there.
    dtype
        The arithmetic: `"f32"`; `"bf16"` or `"int8"` on a CPU, which round the factors of products; `"f16"` or `"bf16"`
        on a GPU; `"fastest"` for the fastest on a CPU that keeps this model's embeddings, which is measured once.
    project
        `"final_proj"` passes frames through that head, which the file must keep.
    threads
        The processors to use; all of them without it.
    quiet
        True prints nothing about downloads and conversions on standard error.

    Raises
    ------
    ModelError
        For a model that cannot be found, downloaded, converted, loaded or run.
    ValueError
        For a hidden state that the model does not have, and for other values than those above.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        layer: int | str | Iterable[int] = 6,
        pooling: str | None = "mean",
        *,
        normalize: bool = False,
        device: object = "cpu",
        dtype: str = "f32",
        project: str | None = None,
        threads: int | None = None,
        quiet: bool = False,
    ) -> None:
        self._single = isinstance(layer, (int, np.integer))
        text = as_layers(layer)
        if pooling is not None and not isinstance(pooling, str):
            raise ValueError(f"pooling: {pooling!r}, expected 'mean', 'max', 'mean+std' or None")
        if threads is not None and not 1 <= threads <= 1024:
            raise ValueError(f"threads: {threads}, expected 1 to 1024")
        pooling = "none" if pooling is None else pooling
        self._native = _native.Encoder(
            os.fspath(model),
            text,
            pooling,
            "l2" if normalize else "none",
            as_device(device),
            dtype,
            project,
            threads,
            quiet,
        )
        self._pooled = pooling != "none"
        self._arguments = (os.fspath(model), text, self._single, pooling, normalize, str(device), dtype, project, threads, quiet)
        # The model returns hidden states in ascending order; this is the order that was asked for.
        ascending = self._native.layers
        if isinstance(layer, str):
            self._order = None
            self.layers = ascending
        else:
            count = self._native.num_hidden_states
            self.layers = [i + count if i < 0 else i for i in map(int, text.split(","))]
            order = [ascending.index(i) for i in self.layers]
            self._order = None if order == list(range(len(ascending))) else order
        self._has_warned = False
        for note in self._native.notes:
            warn(note)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the model again: the memory of this one is not copied.
        return _reopened, self._arguments

    def __repr__(self) -> str:
        native = self._native
        return (
            f"Encoder({os.fspath(native.path)!r}, layers {self.layers}, dim {native.dim}, {native.sample_rate} Hz, "
            f"pooling {self._arguments[3]}, {native.dtype} on {native.device})"
        )

    @property
    def sample_rate(self) -> int:
        """The rate of the model's input in hertz. Audio at another rate is resampled."""
        return self._native.sample_rate

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self._native.dim

    @property
    def frame_rate(self) -> float:
        """Frames per second of the hidden states."""
        return self._native.sample_rate / self._native.hop

    @property
    def num_hidden_states(self) -> int:
        """The number of hidden states of the model: its layers, and one before them."""
        return self._native.num_hidden_states

    @property
    def sha256(self) -> str:
        """The SHA-256 of the converted file, in hexadecimal."""
        return self._native.sha256

    @property
    def license(self) -> str | None:
        """The checkpoint's licence, or None where the file does not record it."""
        return self._native.license

    @property
    def dtype(self) -> str:
        """The arithmetic: f32, f16, bf16 or int8."""
        return self._native.dtype

    @property
    def device(self) -> str:
        """The device that the model runs on: cpu, metal or cuda."""
        return self._native.device

    def encode(self, audio: ArrayLike, sr: float) -> NDArray[np.float32]:
        """Embeds a clip as one window.

        Parameters
        ----------
        audio
            Samples `(samples,)`, or `(channels, samples)`, of which the mean is taken: numpy arrays and torch tensors of
            floats, or of PCM as int16, int32 or uint8. They are not changed.
        sr
            Their rate in hertz. Another rate than the model's is resampled, and a warning says so once.

        Returns
        -------
        numpy.ndarray
            float32. With pooling `(dim,)`, without `(frames, dim)`; for several hidden states `(layers, dim)` and
            `(layers, frames, dim)`.

        Raises
        ------
        ValueError
            For another shape or type of audio, or values that are not finite.
        AudioError
            For a clip that is too short, or silent if the model normalises its input.
        ModelError
            For a result that is not finite.
        """
        values, is_resampled = self._native.embed(as_mono(audio), as_rate(sr))
        if is_resampled:
            self._warn_resampled(as_rate(sr))
        return self._shaped(values)

    __call__ = encode

    def _warn_resampled(self, rate: int) -> None:
        """Says once that audio is resampled."""
        if not self._has_warned:
            self._has_warned = True
            warn(f"audio at {rate} Hz is resampled to the model's {self.sample_rate} Hz")

    def encode_batch(
        self, clips: Iterable[ArrayLike], sr: float
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Embeds several clips, each as one window: with pooling an array with a row for each clip, without a list.

        `clips` is an iterable of what `encode` takes, or an array `(clips, samples)`; the rest is as for `encode`.
        """
        if getattr(clips, "ndim", 2) < 2:
            raise ValueError("clips: one clip, expected several: a list, or an array (clips, samples); encode takes one")
        embeddings = [self.encode(clip, sr) for clip in clips]
        return np.stack(embeddings) if self._pooled and embeddings else embeddings

    def encode_windows(
        self, audio: ArrayLike, sr: float, *, window: float = 5.0, hop: float | None = None
    ) -> Iterator[WindowEmbedding]:
        """Embeds the windows of a recording one by one, as a generator of `WindowEmbedding`.

        `window` and `hop` are seconds; the hop is the window without it. What remains at the end is left out, unless
        the recording is shorter than one window, which then is the only one. Where the model normalises its input, silent
        windows are left out, and a warning says how many; AudioError if all are.
        """
        rate = self.sample_rate
        hop = window if hop is None else hop
        if not (0 < window < float("inf") and 0 < hop < float("inf")):
            raise ValueError(f"window: {window} s, hop: {hop} s, expected seconds above 0")
        samples = as_mono(audio)
        if as_rate(sr) != rate:
            self._warn_resampled(as_rate(sr))
            samples = _native.resample(samples, as_rate(sr), rate)
        size, step = round(window * rate), round(hop * rate)
        if size < 1 or step < 1:
            raise ValueError(f"window: {window} s, hop: {hop} s, expected at least a sample")
        silent, embedded, failure = 0, 0, None
        for start in range(0, max(samples.size - size, 0) + 1, step):
            clip = samples[start : start + size]
            try:
                values, _ = self._native.embed(np.ascontiguousarray(clip), rate)
            except _native.AudioError as error:
                # Another fault, such as of a clip that is too short, is one of the whole recording.
                if clip.size < self._native.min_samples or not np.all(clip == clip[0]):
                    raise
                silent, failure = silent + 1, error
                continue
            embedded += 1
            yield WindowEmbedding(start / rate, (start + clip.size) / rate, self._shaped(values))
        if failure is not None and embedded == 0:
            raise failure
        if silent:
            warn(f"{silent} silent window(s) left out of {silent + embedded}")

    def encode_files(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        window: str = "middle:30s",
        tail: str = "align",
        damaged: str = "refuse",
        ffmpeg: bool = False,
        jobs: int = 1,
        errors: str = "raise",
    ) -> Iterator[FileEmbedding | FileFailure]:
        """Embeds files one by one, as a generator of `FileEmbedding`, in the order of `paths`; one that is given again only once.

        Parameters
        ----------
        paths
            Files, and folders with them.
        window
            The part of a file that is embedded, as `mert-embed --window` has it: `"whole"`, `"middle:30s"`, or
            `"sliding:LENGTH/HOP"` such as `"sliding:5s/5s"`.
        tail
            The remainder that sliding windows do not cover: `"align"`, `"keep"` or `"drop"`.
        damaged
            `"refuse"` leaves damaged files out, `"keep"` embeds what can be decoded.
        ffmpeg
            True lets an installed ffmpeg decode files that cannot be read otherwise.
        jobs
            The files that are decoded and embedded at the same time. The model runs on all processors in any case, so
            that more than one hides the decoding, and takes as many times the memory.
        errors
            `"raise"` ends at the first file that cannot be embedded; `"return"` yields a `FileFailure` in its place.
        """
        if errors not in ("raise", "return"):
            raise ValueError(f"errors: {errors!r}, expected 'raise' or 'return'")
        if isinstance(paths, (str, os.PathLike)):
            paths = [paths]
        names = [os.fspath(path) for path in paths]
        if not names:
            return
        files, notes = _native.find_inputs(names)
        for note in notes:
            warn(note)

        def embed(path: str) -> FileEmbedding | FileFailure:
            try:
                places, values, found = self._native.embed_file(path, window, tail, damaged, ffmpeg)
            except _native.MertError as error:
                return FileFailure(path, error)
            windows = [
                WindowEmbedding(start, end, self._shaped(value))
                for (start, end, _), value in zip(places, values, strict=True)
            ]
            return FileEmbedding(path, windows, found)

        for result in in_order(embed, map(os.fspath, files), jobs):
            if errors == "raise" and isinstance(result, FileFailure):
                text = str(result.error)
                raise type(result.error)(text if result.path in text else f"{result.path}: {text}") from result.error
            yield result

    def write(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str],
        *,
        window: str = "middle:30s",
        tail: str = "align",
        damaged: str = "refuse",
        ffmpeg: bool = False,
        jobs: int | None = None,
        restart: bool = False,
        force: bool = False,
        progress: Callable[[bool, float], object] | None = None,
    ) -> dict[str, Any]:
        """Writes the embeddings of files as a table, byte for byte as `mert-embed -o OUTPUT` does.

        `output` ends in `.parquet`, `.npz`, `.npy`, `.safetensors` or `.jsonl`. Files that cannot be embedded are left
        out and are in the result. An interrupted call keeps what it has done, and the same call goes on from there,
        unless `restart` is True. `progress`, if given, is called with `(file_ended, seconds_of_audio)`; an exception of it
        ends the call as an interruption does.

        Returns a dictionary with the numbers of files `embedded`, `resumed` and `failed`, the list `failures`, each
        with `file`, `reason` and `message`, and `notes`. If no file could be embedded, nothing is written.

        Raises FileExistsError for an output that is there, unless `force` is True.
        """
        names = [os.fspath(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
        return _native.write_table(
            self._native, names, os.fspath(output), window, tail, damaged, ffmpeg, jobs, restart, force, progress
        )

    def _shaped(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(rows, layers, dim)` as the shape that `encode` documents, without a copy unless hidden states are reordered."""
        if self._order is not None:
            values = values[:, self._order]
        values = values[0] if self._pooled else values.transpose(1, 0, 2)
        return values[0] if self._single else values


def in_order(work: Callable[[Any], Any], items: Iterable[Any], jobs: int) -> Iterator[Any]:
    """The results of `work` for `items`, in their order, with as many of them computed at a time as there are jobs."""
    if jobs <= 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(jobs)
    pending = []
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) > jobs:
                yield pending.pop(0).result()
        while pending:
            yield pending.pop(0).result()
    finally:
        # Who stops does not wait for the files that are being embedded.
        pool.shutdown(wait=False, cancel_futures=True)


def _reopened(
    model: str, layers: str, single: bool, pooling: str, normalize: bool, device: str, dtype: str, *others: Any
) -> Encoder:
    """The encoder of another process, opened again."""
    project, threads, quiet = others
    layer: Any = layers
    if single:
        layer = int(layers)
    elif all(part.lstrip("-").isdigit() for part in layers.split(",")):
        layer = [int(part) for part in layers.split(",")]
    return Encoder(
        model, layer, pooling, normalize=normalize, device=device, dtype=dtype, project=project, threads=threads, quiet=quiet
    )
