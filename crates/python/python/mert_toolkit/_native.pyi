"""The types of the extension module, which the package's own modules call."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str
COMPRESSED_ABOVE: int

class MertError(Exception): ...
class ModelError(MertError): ...
class AudioError(MertError): ...
class ConversionError(MertError): ...
class VerificationError(MertError): ...
class CatalogueError(MertError): ...

class Encoder:
    path: Path
    sha256: str
    license: str | None
    notes: list[str]
    dtype: str
    device: str
    sample_rate: int
    min_samples: int
    hop: int
    layers: list[int]
    num_hidden_states: int
    dim: int
    config: str
    def __init__(
        self,
        model: str | PathLike[str],
        layers: str,
        pooling: str,
        normalize: str,
        device: str,
        dtype: str,
        project: str | None,
        threads: int | None,
        quiet: bool,
    ) -> None: ...
    def embed(self, samples: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float32], bool]: ...
    def forward(self, samples: NDArray[np.float32]) -> NDArray[np.float32]: ...
    def embed_file(
        self, path: str, window: str, tail: str, damaged: str, ffmpeg: bool
    ) -> tuple[list[tuple[float, float, int]], list[NDArray[np.float32]], list[str]]: ...

class Vocabulary:
    size: int
    dim: int
    notes: list[str]
    centroids: NDArray[np.float32]
    def __init__(self, path: str) -> None: ...
    @staticmethod
    def fit(frames: NDArray[np.float32], k: int, seed: int, passes: int) -> Vocabulary: ...
    def quantize(self, frames: NDArray[np.float32]) -> NDArray[np.uint32]: ...
    def save(self, path: str, force: bool) -> None: ...

class Catalogue:
    path: Path
    rows: int
    groups: list[tuple[str, int]]
    columns: list[str]
    notes: list[str]
    def __init__(self, path: str) -> None: ...
    def tracks(self) -> list[tuple[int, str, float]]: ...
    def find(self, text: str) -> int: ...
    def search(self, seeds: list[tuple[str | NDArray[np.float32], float]], **options: Any) -> dict[str, Any]: ...

def add_tables(folder: str, tables: list[str], tags: bool) -> dict[str, Any]: ...
def convert(input: str, output: str | None, **options: Any) -> dict[str, Any]: ...
def find_inputs(paths: list[str]) -> tuple[list[Path], list[str]]: ...
def model_sha256(model: str) -> str: ...
def preprocessor(model: str) -> tuple[int, bool, str | None]: ...
def resample(samples: NDArray[np.float32], source: int, target: int) -> NDArray[np.float32]: ...
def verify(model: str | None, references: list[str], **options: Any) -> tuple[str, str, str, str]: ...
def write_table(
    encoder: Encoder,
    paths: list[str],
    output: str,
    window: str,
    tail: str,
    damaged: str,
    ffmpeg: bool,
    jobs: int | None,
    restart: bool,
    force: bool,
    progress: Callable[[bool, float], object] | None,
) -> dict[str, Any]: ...
def verify_config(path: str) -> tuple[str, str, str, str]: ...
