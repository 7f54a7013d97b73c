"""The function `convert`."""

from __future__ import annotations

import operator
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
    budget: str | None = None,
    size: str | int | None = None,
    int8_budget: str | None = None,
    calibration: str | os.PathLike[str] | None = None,
    coreml: Mapping[str, Any] | None = None,
    max_shard_size: str | int | None = None,
    adapter: str | os.PathLike[str] | None = None,
    key: str | None = None,
    prefix: str | None = None,
    config: str | os.PathLike[str] | None = None,
    config_set: Mapping[str, Any] | None = None,
    preprocessor: str | os.PathLike[str] | None = None,
    sampling_rate: int | None = None,
    do_normalize: bool | None = None,
    keep_final_proj: bool = False,
    drop: str | Iterable[str] = (),
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
    budget, size
        Chooses the bits of each linear layer by measurement: for a small file in which every hidden state is within
        limits on held-out audio, such as `"pooled>=0.9995,nmse<=1e-3"`, or for the smallest error in a file of at most
        `"60MB"`. Takes minutes at full size.
    int8_budget
        Chooses the modules that keep floats where the model is computed in 8-bit integers, for limits such as
        `"pooled>=0.999,frame>=0.99"`.
    calibration
        A folder of audio files to measure on; generated music without it.
    coreml
        The options of a Core ML package, as a dictionary with any of `seconds` (a number, a list, or a range such as
        `"1-30"`), `frames`, `layers`, `minimum_deployment` (`"ios18"`), `compress` (`"int8"`) and `block_size`.
    max_shard_size
        The largest file of weights in a folder, such as `"5GB"`.
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
        What `mert-convert --json` prints: `plan`, `assumptions`, `target`, `output` with its path, bytes and SHA-256, and
        `budget` and `int8` with the measurements of a choice.

    Raises
    ------
    ConversionError
        With the reason and what to do. The output is then as it was before.
    """
    if quantize is not None:
        given = quantize if isinstance(quantize, Mapping) else {"bits": operator.index(quantize)}
        quantize = _complete("quantize", given, _QUANTIZE)
        quantize |= {name: _names(quantize[name]) for name in ("only", "skip")}
    if coreml is not None:
        coreml = _complete("coreml", coreml, _COREML)
        coreml |= {name: None if coreml[name] is None else _list(coreml[name]) for name in ("seconds", "layers")}
    return _native.convert(
        os.fspath(input),
        _path(output),
        dtype=dtype,
        layout=layout,
        program=program,
        quantize=quantize,
        measured={
            "budget": budget,
            "size": None if size is None else str(size),
            "int8_budget": int8_budget,
            "calibration": _path(calibration),
        },
        coreml=coreml,
        max_shard_size=None if max_shard_size is None else str(max_shard_size),
        adapter=_path(adapter),
        key=key,
        prefix=prefix,
        config=_path(config),
        fields=[f"{name}={_field(value)}" for name, value in (config_set or {}).items()],
        preprocessor=_path(preprocessor),
        sampling_rate=sampling_rate,
        do_normalize=do_normalize,
        keep_final_proj=keep_final_proj,
        drop=_names(drop),
        force=force,
        quiet=quiet,
    )


_QUANTIZE: dict[str, Any] = {"bits": None, "group_size": None, "mode": None, "only": [], "skip": []}
_COREML: dict[str, Any] = {
    "seconds": None, "frames": False, "layers": None, "minimum_deployment": None, "compress": None, "block_size": None,
}  # fmt: skip


def _complete(name: str, given: Mapping[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """The options of the dictionary `name`, with the defaults of those that it does not have."""
    unknown = sorted(set(given) - set(default))
    if unknown:
        raise ValueError(f"{name}: unknown keys {unknown}, expected some of {sorted(default)}")
    return default | dict(given)


def _list(value: object) -> str:
    """Numbers as the options of the commands list them."""
    is_several = isinstance(value, Iterable) and not isinstance(value, str)
    return ",".join(map(str, value)) if is_several else str(value)


def _names(value: str | Iterable[str]) -> list[str]:
    """One name or several, as a list."""
    return [value] if isinstance(value, str) else list(value)


def _path(value: str | os.PathLike[str] | None) -> str | None:
    return None if value is None else os.fspath(value)


def _field(value: object) -> str:
    """The value of a configuration field as `--set NAME=VALUE` takes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_field, value)) + "]"
    return str(value)
