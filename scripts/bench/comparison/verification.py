"""How near an engine's hidden states are to PyTorch eager's in float32."""

from dataclasses import dataclass

import numpy as np

# An NMSE above the effect of the order of f32 sums (about 1e-11), below that of leaving out any part.
F32_NMSE = 1e-6
# What is allowed to a 16-bit file, which has other weights than PyTorch; mert-verify allows that much for them.
FILE_NMSE = {"f16": 2e-5, "bf16": 1.5e-3}
# A row in reduced precision is accepted if the pooled cosine of every hidden state is above this.
POOLED_COSINE = 0.999


class ShapesDiffer(Exception):
    """The hidden states are not those of the same model."""


@dataclass(frozen=True)
class Agreement:
    """One number for each hidden state."""

    nmse: list
    # The cosine of the means over all frames.
    pooled_cosine: list
    # The smallest cosine of a frame.
    frame_cosine: list

    @property
    def worst_nmse(self):
        return worst(max, self.nmse)

    @property
    def worst_pooled_cosine(self):
        return worst(min, self.pooled_cosine)

    @property
    def worst_frame_cosine(self):
        return worst(min, self.frame_cosine)

    @property
    def accepted(self):
        """Whether a row in reduced precision is near enough to be an alternative."""
        return self.worst_pooled_cosine > POOLED_COSINE


def worst(choose, values):
    """The smallest or largest; not a number if any is not."""
    return choose(values) if all(np.isfinite(values)) else float("nan")


def compare(candidate, reference):
    """The agreement of hidden states (states, frames, width), computed in float64."""
    if candidate.shape != reference.shape:
        raise ShapesDiffer(
            f"hidden states of shape {candidate.shape}, PyTorch's are {reference.shape}"
        )
    agreement = Agreement([], [], [])
    for ours, theirs in zip(candidate, reference, strict=True):
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        error = np.square(ours - theirs).sum() / np.square(theirs).sum()
        agreement.nmse.append(float(error))
        agreement.pooled_cosine.append(float(cosine(ours.mean(0), theirs.mean(0))))
        agreement.frame_cosine.append(float(cosine(ours, theirs).min()))
    return agreement


def cosine(one, other):
    """Along the last axis; not a number where a vector is zero."""
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (one * other).sum(-1) / norms


def listing(agreements):
    """What was found, by the name of the row."""
    lines = ["NMSE against PyTorch eager in f32, hidden states 0 to the last:\n"]
    for name, found in agreements.items():
        lines.append(f"- {name}: " + " ".join(f"{value:.1e}" for value in found.nmse))
    lines.append("\nPooled cosine, and the worst cosine of a frame in any hidden state:\n")
    for name, found in agreements.items():
        pooled = " ".join(f"{value:.5f}" for value in found.pooled_cosine)
        lines.append(f"- {name}: {pooled}; worst frame {found.worst_frame_cosine:.4f}")
    return "\n".join(lines)
