"""The function `verify`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from . import _native
from ._arrays import as_device, as_layers


class VerificationReport(dict[str, Any]):
    """A verdict as `mert-verify --json` writes it, with `passed`, `models` and `errors`."""

    junit: str
    """The report as JUnit XML."""
    markdown: str
    """The report as Markdown."""
    html: str
    """The report as one HTML page that loads nothing, with pictures of the errors."""

    @property
    def passed(self) -> bool:
        """True if everything was compared and is within its tolerance."""
        return self["passed"]


def verify(
    model: str | os.PathLike[str] | None = None,
    references: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    *,
    config: str | os.PathLike[str] | None = None,
    layers: int | str | Iterable[int] = "all",
    isolate: bool = False,
    require_structure: bool = False,
    device: str = "cpu",
    dtype: str | None = None,
    quiet: bool = False,
) -> VerificationReport:
    """Compares every hidden state of a converted model with what PyTorch returned, as `mert-verify` does.

    Parameters
    ----------
    model
        The converted file, a model folder, or a Core ML package; without it the built-in fixture.
    references
        `.npz` files with a clip and the hidden states of it, or folders of them.
    config
        A `verify.yaml` with several models, in the place of all other arguments.
    layers
        `"all"`, a hidden state, or a list of them.
    isolate
        True runs each layer on the reference's own hidden state below it too, to find the layer at fault.
    require_structure
        True fails unless the structure was judged for every reference.
    device, dtype
        The device and the arithmetic, f32 on the CPU without them.
    quiet
        True prints nothing about downloads on standard error.

    Returns
    -------
    VerificationReport
        A dictionary: `passed`, `models` with each comparison and its layers, `errors`; and `junit`, `markdown` and
        `html`, its other forms. It is returned whether the model passes or not.

    Raises
    ------
    VerificationError
        If nothing could be compared.
    """
    if config is not None:
        others = (model, references, layers, isolate, require_structure, device, dtype)
        if others != (None, (), "all", False, False, "cpu", None):
            raise ValueError("config: it names the models, references and options itself; leave the other arguments out")
        texts = _native.verify_config(os.fspath(config))
    else:
        if isinstance(references, (str, os.PathLike)):
            references = [references]
        layers = as_layers(layers)
        texts = _native.verify(
            None if model is None else os.fspath(model),
            [os.fspath(path) for path in references],
            layers=layers,
            isolate=isolate,
            require_structure=require_structure,
            device=as_device(device),
            dtype=dtype,
            quiet=quiet,
        )
    report = VerificationReport(json.loads(texts[0]))
    report.junit, report.markdown, report.html = texts[1:]
    return report
