"""Bytes that a step of generation must read, and the real-time factor that a bandwidth of memory allows."""

CHIPS = {"M1": 68e9, "M2, M3": 100e9, "M4": 120e9, "Pro": 200e9, "Max": 400e9}
CODEBOOKS = 4


def step_bytes(shape, frames, bits=4, group=64):
    """Weights, and what the caches in float16 hold on average. Cross-attention's keys and values are kept; heads are float16."""
    d, f = shape.width, shape.inner
    per_weight = (bits + 32 / group) / 8
    blocks = shape.layers * (6 * d * d + 2 * d * f) * per_weight
    heads = CODEBOOKS * shape.card * d * 2
    steps = frames + CODEBOOKS - 1
    # Keys and values of two rows that grow with the steps, and those of the prefix, which both rows share.
    caches = shape.layers * 2 * d * 2 * (2 * steps / 2 + frames + 1)
    return blocks + heads, caches


def real_time_factor(shape, frames, bandwidth):
    """Seconds of reading in all steps over the seconds of the music; the CP transformer, whose cost is arithmetic, is left out."""
    return sum(step_bytes(shape, frames)) * (frames + CODEBOOKS - 1) / bandwidth / (frames / 50)
