"""MERT and its relatives from Python, without torch: convert checkpoints, verify them, embed music, search.

    >>> from mert_toolkit import Encoder
    >>> encoder = Encoder("m-a-p/MERT-v1-95M", layer=6, pooling="mean")
    >>> embedding = encoder.encode(audio, 44100)  # (768,)

Everything that computes is the toolkit's Rust code, in an extension module; arrays are numpy's. Long calls release
the interpreter's lock and end on Ctrl-C.
"""

from ._convert import convert
from ._drop_in import MERTEncoder
from ._encoder import Encoder, FileEmbedding, FileFailure, WindowEmbedding
from ._native import (
    AudioError,
    CatalogueError,
    ConversionError,
    MertError,
    ModelError,
    VerificationError,
    __version__,
)
from ._reference import write_reference
from ._search import Catalogue, SearchResult
from ._tokens import Vocabulary, quantize
from ._verify import VerificationReport, verify

__all__ = [
    "AudioError",
    "Catalogue",
    "CatalogueError",
    "ConversionError",
    "Encoder",
    "FileEmbedding",
    "FileFailure",
    "MERTEncoder",
    "MertError",
    "ModelError",
    "SearchResult",
    "VerificationError",
    "VerificationReport",
    "Vocabulary",
    "WindowEmbedding",
    "__version__",
    "convert",
    "quantize",
    "verify",
    "write_reference",
]
