"""Stand-ins for transformers' classes, so that code that reads `last_hidden_state` and `hidden_states` runs as it is.

    >>> from mert_toolkit.transformers import MertModel, MertFeatureExtractor
    >>> processor = MertFeatureExtractor.from_pretrained("m-a-p/MERT-v1-95M")
    >>> model = MertModel.from_pretrained("m-a-p/MERT-v1-95M")
    >>> inputs = processor(audio, sampling_rate=24000, return_tensors="np")
    >>> outputs = model(**inputs, output_hidden_states=True)
    >>> len(outputs.hidden_states)
    13

Tensors come back in the library that they came in: numpy's arrays for numpy's, torch's for torch's. There are no gradients.
"""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import numpy as np

from . import _native
from ._arrays import as_floats, as_mono, as_numpy
from ._encoder import DEVICES


class ModelOutput(dict):
    """An output whose entries are attributes and, in order, items of a tuple, as in transformers."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self):
        """The entries that are not None."""
        return tuple(value for value in self.values() if value is not None)


class MertFeatureExtractor:
    """The preparation of audio for `MertModel`: what transformers' `Wav2Vec2FeatureExtractor` does for the same model."""

    def __init__(self, sampling_rate, do_normalize):
        self.sampling_rate = sampling_rate
        self.do_normalize = do_normalize

    @classmethod
    def from_pretrained(cls, model, **_):
        """The preparation that the model at `model`, a converted file or a name on the hub, records."""
        rate, do_normalize = _native.preprocessor(os.fspath(model))
        return cls(rate, do_normalize)

    def __call__(self, audio, sampling_rate=None, return_tensors="np", padding=False):
        """Clips as `input_values` `(clips, samples)`: normalised to zero mean and unit variance if the model requires it.

        ValueError for another rate than the model's (transformers' extractor does not resample either), and for clips of
        different lengths, which the model takes one by one: padding would change what it computes.
        """
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(
                f"the model takes {self.sampling_rate} Hz, and the audio has {sampling_rate} Hz: resample it first, or "
                "use mert_toolkit.Encoder, which does"
            )
        is_batch = isinstance(audio, (list, tuple)) and not np.isscalar(audio[0]) or as_numpy(audio).ndim == 2
        clips = [as_mono(clip) for clip in (audio if is_batch else [audio])]
        if len({clip.size for clip in clips}) != 1:
            raise ValueError(
                f"clips of {sorted({clip.size for clip in clips})} samples: give them one by one, without padding"
            )
        values = np.stack([self._normalized(clip) for clip in clips])
        return ModelOutput(input_values=_as_tensor(values, return_tensors))

    def _normalized(self, clip):
        if not self.do_normalize:
            return clip
        clip = clip.astype(np.float64)
        return ((clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)).astype(np.float32)


class MertModel:
    """A converted model that is called as transformers' models are."""

    def __init__(self, native):
        self._native = native
        self.config = SimpleNamespace(**json.loads(native.config))
        self.device = native.device
        self.training = False

    @classmethod
    def from_pretrained(cls, model, *, device="cpu", dtype="f32", threads=None, **_):
        """Opens a converted file, or a model of the hub, which is downloaded and converted once.

        Further arguments of transformers such as `trust_remote_code` have no effect: no code of a model is run.
        """
        device = str(device).split(":")[0]
        native = _native.Encoder(
            os.fspath(model), "all", "none", "none", DEVICES.get(device, device), dtype, None, threads, False
        )
        return cls(native)

    def eval(self):
        """The model itself: it has no other mode."""
        return self

    def to(self, *_, **__):
        """The model itself, which runs on the device that it was opened on."""
        return self

    def requires_grad_(self, *_):
        """The model itself: there are no gradients."""
        return self

    def parameters(self):
        """No parameters: nothing can be trained."""
        return iter(())

    def __call__(self, input_values=None, attention_mask=None, output_hidden_states=None, return_dict=True, **_):
        """The hidden states of `input_values` `(clips, samples)`, prepared as `MertFeatureExtractor` does.

        Returns `last_hidden_state` `(clips, frames, hidden_size)` and, if it is asked for or the configuration says so,
        `hidden_states`, a tuple of as many for the input of the first layer and the output of each. ValueError for an
        `attention_mask` that leaves samples out: give such clips one by one, without padding.
        """
        if attention_mask is not None and not np.all(as_numpy(attention_mask)):
            raise ValueError("attention_mask: it leaves samples out; give clips of one length, or one by one")
        clips = as_floats(input_values)
        if clips.ndim != 2:
            raise ValueError(f"input_values have the shape {clips.shape}, expected (clips, samples)")
        # (clips, layers, frames, dim)
        stacked = np.stack([self._native.forward(np.ascontiguousarray(clip)) for clip in clips])
        like = "pt" if hasattr(input_values, "detach") else "np"
        states = [_as_tensor(stacked[:, layer], like) for layer in range(stacked.shape[1])]
        wanted = output_hidden_states or output_hidden_states is None and self._outputs_hidden_states()
        output = ModelOutput(
            last_hidden_state=states[-1],
            hidden_states=tuple(states) if wanted else None,
            attentions=None,
        )
        return output if return_dict else output.to_tuple()

    forward = __call__

    def _outputs_hidden_states(self):
        return bool(getattr(self.config, "output_hidden_states", False))


def _as_tensor(array, library):
    if library in (None, "np"):
        return array
    if library == "pt":
        import torch

        return torch.from_numpy(np.ascontiguousarray(array))
    raise ValueError(f"return_tensors: {library!r}, expected 'np' or 'pt'")
