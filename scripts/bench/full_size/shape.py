"""The sizes of a model, and the names of its files; imports nothing large."""

from dataclasses import dataclass, fields

FILES = ["state_dict.bin", "finetuned.ckpt", "compression_state_dict.bin", "t5/model.safetensors"]


@dataclass(frozen=True)
class Shape:
    layers: int
    width: int
    heads: int
    inner: int
    card: int
    rows: int
    adam: bool
    small_parts: bool

    @classmethod
    def of(cls, options):
        """From the options as text."""
        read = {bool: lambda text: text == "True", int: int}
        return cls(**{field.name: read[field.type](options[field.name]) for field in fields(cls)})
