"""Vocabularies: frames to tokens."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._arrays import ArrayLike, as_frames


class Vocabulary:
    """The centres of a k-means that turn frames into tokens.

    `Vocabulary(path)` opens a file that `mert-tokens train` wrote, or one of the other formats that it reads (`.npy`,
    fairseq's joblib files); `Vocabulary.fit` finds centres. `MertError` says why a file is not a vocabulary.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._native = _native.Vocabulary(os.fspath(path))

    @classmethod
    def fit(cls, frames: ArrayLike, size: int = 2048, *, seed: int = 0, passes: int = 100) -> Vocabulary:
        """Finds `size` centres of `frames` `(frames, dim)` by k-means++ and at most `passes` passes over all frames.

        The same frames and seed give the same centres. ValueError for fewer frames than centres.
        """
        vocabulary = cls.__new__(cls)
        vocabulary._native = _native.Vocabulary.fit(as_frames(frames)[0], size, seed, passes)
        return vocabulary

    def __len__(self) -> int:
        return self._native.size

    @property
    def dim(self) -> int:
        """The width of the frames."""
        return self._native.dim

    @property
    def centroids(self) -> NDArray[np.float32]:
        """The centres `(size, dim)`, float32."""
        return self._native.centroids

    @property
    def notes(self) -> list[str]:
        """Sentences about what was rounded, assumed or left out when the file was read."""
        return self._native.notes

    def quantize(self, embeddings: ArrayLike) -> NDArray[np.uint32]:
        """The token of each frame: uint32, in the shape of `embeddings` `(..., dim)` without its last axis.

        The search is exact: of two centres at the same distance the first. ValueError for frames of another width.
        """
        frames, shape = as_frames(embeddings)
        return self._native.quantize(frames).reshape(shape)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Writes the vocabulary as safetensors, for `mert-tokens` and for this class."""
        self._native.save(os.fspath(path), force)


def quantize(embeddings: ArrayLike, vocabulary: Vocabulary | str | os.PathLike[str]) -> NDArray[np.uint32]:
    """The tokens of `embeddings` `(..., dim)` by a `Vocabulary`, or by the file of one."""
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary(vocabulary)
    return vocabulary.quantize(embeddings)
