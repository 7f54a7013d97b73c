"""The class `MERTEncoder`, with the arguments of the class of this name that many projects have around transformers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._arrays import ArrayLike
from ._encoder import Encoder


class MERTEncoder:
    """MERT's embeddings of clips: `MERTEncoder(model_name, device, layer, pooling).encode(audio, sr)`.

    The arguments are those of `Encoder`, in the order that code around transformers has them. `encode` returns float32
    arrays: `(frames, dim)` without pooling, `(dim,)` with it. Audio at another rate than the model's is resampled, and
    a warning says so. `device` may be torch's `"mps"`, `"cuda:0"` or a `torch.device`.
    """

    def __init__(
        self,
        model_name: str = "m-a-p/MERT-v1-95M",
        device: object = "cpu",
        layer: int | str | list[int] = -1,
        pooling: str | None = None,
    ) -> None:
        self.encoder = Encoder(model_name, layer=layer, pooling=pooling, device=device)

    def __repr__(self) -> str:
        return f"MERT{self.encoder!r}"

    @property
    def sample_rate(self) -> int:
        """The rate of the model's input in hertz."""
        return self.encoder.sample_rate

    def encode(self, audio: ArrayLike, sr: float) -> NDArray[np.float32]:
        """Embeds a clip; see `Encoder.encode`."""
        return self.encoder.encode(audio, sr)

    __call__ = encode
