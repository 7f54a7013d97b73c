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
        return cls(**{field.name: options[field.name] == "True" if field.type is bool else int(options[field.name]) for field in fields(cls)})
