"""Plucked notes for the checks of live use."""

import numpy as np


def pluck(rate, key):
    """A note of 0.6 s that decays, as float32."""
    t = np.arange(int(0.6 * rate)) / rate
    hertz = 440 * 2 ** ((key - 69) / 12)
    tone = sum(np.sin(2 * np.pi * hertz * n * t) / n for n in (1, 2, 3))
    # A tone that breaks off is heard as another attack.
    fade = np.minimum(1, (0.6 - t) / 0.3)
    return (0.3 * np.exp(-5 * t) * fade * tone).astype(np.float32)
