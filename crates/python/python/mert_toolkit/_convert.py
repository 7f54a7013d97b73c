"""The function `convert`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import _native


def convert(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    dtype: str | None = None,
    layout: str | None = None,
    program: str | None = None,
    quantize: int | Mapping[str, Any] | None = None,
    adapter: str | os.PathLike[str] | None = None,
    key: str | None = None,
    prefix: str | None = None,
    config: str | os.PathLike[str] | None = None,
    config_set: Mapping[str, Any] | None = None,
    preprocessor: str | os.PathLike[str] | None = None,
    sampling_rate: int | None = None,
    do_normalize: bool | None = None,
    keep_final_proj: bool = False,
    drop: Iterable[str] = (),
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Converts a PyTorch or fairseq checkpoint, as `mert-convert INPUT OUTPUT` does.

    Parameters
    ----------
    input
        A checkpoint file, a model folder, or a model of the Hugging Face hub. Nothing in a pickle is executed.
    output
        `NAME.safetensors`, `NAME.gguf`, `NAME.mlpackage`, or a folder; without it nothing is written, and the plan is
        returned.
    dtype
        `"f16"`, `"bf16"` or `"f32"`; f16 without it.
    layout
        `"mlx"` or `"candle"`: the order of the axes of Conv1d weights.
    program
        The program that the output is for: `"hf"`, `"mlx-hubert"` or `"mlx-contentvec"`.
    quantize
        Bits such as 4, or a dictionary with any of `bits`, `group_size`, `mode`, `only` and `skip`: linear layers as
        `mx.quantize` has them.
    adapter
        A LoRA adapter of PEFT to merge.
    key, prefix
        The entry of the checkpoint, and the prefix of the tensors, of the model if there are several.
    config, config_set
        A `config.json` in the place of the checkpoint's, and fields that replace its own, as a dictionary.
    preprocessor, sampling_rate, do_normalize
        A `preprocessor_config.json`, or its two values, where no file of the model states them or they are wrong.
    keep_final_proj
        True keeps that head beside the encoder.
    drop
        Names of tensors to leave out; a trailing `*` matches any ending.
    force
        True replaces an output that is there.
    quiet
        True prints nothing about downloads on standard error.

    Returns
    -------
    dict
        What `mert-convert --json` prints: `plan`, `assumptions`, `target`, and `output` with its path, bytes and SHA-256.

    Raises
    ------
    ConversionError
        With the reason and what to do. The output is then as it was before.
    """
    if quantize is not None:
        given = {"bits": quantize} if isinstance(quantize, int) else dict(quantize)
        known: dict[str, Any] = {"bits": None, "group_size": None, "mode": None, "only": [], "skip": []}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"quantize: unknown keys {unknown}, expected some of {sorted(known)}")
        quantize = known | given
    return _native.convert(
        os.fspath(input),
        _path(output),
        dtype=dtype,
        layout=layout,
        program=program,
        quantize=quantize,
        adapter=_path(adapter),
        key=key,
        prefix=prefix,
        config=_path(config),
        fields=[f"{name}={_field(value)}" for name, value in (config_set or {}).items()],
        preprocessor=_path(preprocessor),
        sampling_rate=sampling_rate,
        do_normalize=do_normalize,
        keep_final_proj=keep_final_proj,
        drop=list(drop),
        force=force,
        quiet=quiet,
    )


def _path(value: str | os.PathLike[str] | None) -> str | None:
    return None if value is None else os.fspath(value)


def _field(value: object) -> str:
    """The value of a configuration field as `--set NAME=VALUE` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_field, value)) + "]"
    return str(value)
