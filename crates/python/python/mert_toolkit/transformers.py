"""Stand-ins for transformers' classes, so that code that reads `last_hidden_state` and `hidden_states` runs as it is.

    >>> from mert_toolkit.transformers import MertModel, MertFeatureExtractor
    >>> processor = MertFeatureExtractor.from_pretrained("m-a-p/MERT-v1-95M")
    >>> model = MertModel.from_pretrained("m-a-p/MERT-v1-95M")
    >>> inputs = processor(audio, sampling_rate=24000, return_tensors="np")
    >>> outputs = model(**inputs, output_hidden_states=True)
    >>> len(outputs.hidden_states)
    13

Tensors come back in the library that they came in: numpy's arrays for numpy's, torch's for torch's. There are no gradients.
Of a pre-LN model the last of `hidden_states` is after the final LayerNorm, as in transformers 4; transformers 5 returns it before.
"""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import numpy as np

from . import _native
from ._arrays import as_device, as_floats, as_mono, as_numpy
from ._warnings import warn


class ModelOutput(dict):
    """An output whose entries are attributes and, in order, items of a tuple, as in transformers."""

    def __init__(self, **entries):
        super().__init__({name: value for name, value in entries.items() if value is not None})
        self._absent = [name for name, value in entries.items() if value is None]

    def __getattr__(self, name):
        if name in self:
            return self[name]
        if name in self.__dict__.get("_absent", ()):
            return None
        raise AttributeError(name)

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self):
        """The entries that are not None."""
        return tuple(self.values())

    def to(self, *_, **__):
        """The output itself: the model takes its input from any device."""
        return self


class MertFeatureExtractor:
    """The preparation of audio for `MertModel`: what transformers' `Wav2Vec2FeatureExtractor` does for the same model."""

    feature_size = 1

    def __init__(self, sampling_rate, do_normalize):
        self.sampling_rate = sampling_rate
        self.do_normalize = do_normalize

    def __repr__(self):
        return f"MertFeatureExtractor({self.sampling_rate} Hz, do_normalize={self.do_normalize})"

    @classmethod
    def from_pretrained(cls, model, **_):
        """The preparation that the model at `model`, a converted file or a name on the hub, records."""
        rate, do_normalize, assumed = _native.preprocessor(os.fspath(model))
        if assumed:
            warn(f"{model}: no file of the model states what audio it takes; assumed: {assumed}")
        return cls(rate, do_normalize)

    def __call__(
        self,
        audio=None,
        sampling_rate=None,
        return_tensors="np",
        padding=False,
        *,
        raw_speech=None,
        truncation=False,
        max_length=None,
        return_attention_mask=None,
    ):
        """Clips as `input_values` `(clips, samples)`: normalised to zero mean and unit variance if the model requires it.

        ValueError for another rate than the model's (transformers' extractor does not resample either), and for clips of
        different lengths, which the model takes one by one: padding would change what it computes. `truncation` with
        `max_length` cuts clips to that many samples; with `return_attention_mask` there is a mask of ones.
        """
        audio = raw_speech if audio is None else audio
        if audio is None or len(audio) == 0:
            raise ValueError("audio has no samples")
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(
                f"the model takes {self.sampling_rate} Hz, and the audio has {sampling_rate} Hz: resample it first, or "
                "use mert_toolkit.Encoder, which does"
            )
        is_batch = isinstance(audio, (list, tuple)) and not np.isscalar(audio[0]) or as_numpy(audio).ndim == 2
        clips = [as_mono(clip)[: max_length if truncation else None] for clip in (audio if is_batch else [audio])]
        if len({clip.size for clip in clips}) != 1:
            raise ValueError(
                f"clips of {sorted({clip.size for clip in clips})} samples: give them one by one, without padding"
            )
        values = np.stack([self._normalized(clip) for clip in clips])
        mask = _as_tensor(np.ones(values.shape, np.int64), return_tensors) if return_attention_mask else None
        return ModelOutput(input_values=_as_tensor(values, return_tensors), attention_mask=mask)

    def _normalized(self, clip):
        if not self.do_normalize:
            return clip
        clip = clip.astype(np.float64)
        return ((clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)).astype(np.float32)


class Config(SimpleNamespace):
    """The configuration of a model, with the names of transformers."""

    def to_dict(self):
        """The configuration as a dictionary."""
        return dict(vars(self))


class MertModel:
    """A converted model that is called as transformers' models are."""

    def __init__(self, native):
        self._native = native
        self.config = Config(**json.loads(native.config))
        self.device = native.device
        self.training = False

    def __repr__(self):
        native = self._native
        return f"MertModel({os.fspath(native.path)!r}, {native.num_hidden_states} hidden states, {native.dtype} on {native.device})"

    @classmethod
    def from_pretrained(
        cls, model, *, device="cpu", dtype="f32", torch_dtype=None, output_hidden_states=None, threads=None, **_
    ):
        """Opens a converted file, or a model of the hub, which is downloaded and converted once.

        `dtype` is the arithmetic, in the words of `Encoder` or torch's. Further arguments of transformers such as
        `trust_remote_code` and `device_map` have no effect: no code of a model is run.
        """
        dtype = str(torch_dtype if torch_dtype is not None else dtype).removeprefix("torch.")
        dtype = {"float32": "f32", "auto": "f32", "float16": "f16", "bfloat16": "bf16"}.get(dtype, dtype)
        native = _native.Encoder(
            os.fspath(model), "all", "none", "none", as_device(device), dtype, None, threads, False
        )
        for note in native.notes:
            warn(note)
        opened = cls(native)
        if output_hidden_states is not None:
            opened.config.output_hidden_states = output_hidden_states
        return opened

    def eval(self):
        """The model itself: it has no other mode."""
        return self

    def train(self, mode=True):
        """The model itself; ValueError if it is to be trained."""
        if mode:
            raise ValueError("the model has no gradients: it can be used as it is, and not trained")
        return self

    def to(self, device=None, *_, **__):
        """The model itself, which runs on the device that it was opened on; a warning says so if another is asked for."""
        text = str(device).split(":")[0]
        if device is not None and not text.startswith("torch.") and as_device(text) != self.device:
            warn(f"the model stays on {self.device}: give from_pretrained the device {text!r}")
        return self

    def cuda(self, *_):
        """As `to("cuda")`."""
        return self.to("cuda")

    def cpu(self):
        """As `to("cpu")`."""
        return self.to("cpu")

    def float(self):
        """The model itself, which takes and returns float32."""
        return self

    half = bfloat16 = float

    def requires_grad_(self, *_):
        """The model itself: there are no gradients."""
        return self

    def freeze_feature_encoder(self):
        """Nothing: there are no gradients."""

    freeze_feature_extractor = freeze_feature_encoder

    def parameters(self, *_, **__):
        """One empty tensor, whose device and type code may ask for: nothing can be trained. Without torch none."""
        try:
            import torch
        except ImportError:
            return iter(())
        return iter([torch.empty(0)])

    def named_parameters(self, *_, **__):
        """No parameters: nothing can be trained."""
        return iter(())

    def __call__(self, input_values=None, attention_mask=None, output_hidden_states=None, return_dict=None, output_attentions=False, **_):
        """The hidden states of `input_values` `(clips, samples)`, prepared as `MertFeatureExtractor` does.

        Returns `last_hidden_state` `(clips, frames, hidden_size)` and, if it is asked for or the configuration says so,
        `hidden_states`, a tuple of as many for the input of the first layer and the output of each. ValueError for an
        `attention_mask` that leaves samples out: give such clips one by one, without padding. Attentions are not returned.
        """
        if output_attentions:
            raise ValueError("output_attentions: this engine keeps none; leave it out")
        clips = as_floats(input_values)
        if clips.ndim != 2 or clips.size == 0:
            raise ValueError(f"input_values have the shape {clips.shape}, expected (clips, samples)")
        if attention_mask is not None:
            mask = as_numpy(attention_mask)
            if mask.shape != clips.shape:
                raise ValueError(f"attention_mask has the shape {mask.shape}, expected that of input_values, {clips.shape}")
            if not np.all(mask):
                raise ValueError("attention_mask: it leaves samples out; give clips of one length, or one by one")
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
        wants_dict = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

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
