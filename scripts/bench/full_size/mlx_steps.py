"""Times steps of the language model and a layer of the CP transformer in MLX on the CPU, for shapes without their weights' values.

    python mlx_steps.py layers=48 width=2048 heads=32 inner=8192 card=2048 frames=250 steps=8

Prints JSON: seconds of each step, seconds of a layer of the CP transformer, and the peak resident memory in bytes. Codes are 4 bits
in groups of 64. Activations and scales are float32, with which MLX is fastest on the CPU; the two rows of guidance are one batch;
cross-attention's keys and values are kept, and so are those of the prefix.
"""

import json
import resource
import sys
import time

import mlx.core as mx
import mlx.nn as nn

CODEBOOKS, TEXT = 4, 12


def linear(inputs, outputs):
    """A quantized layer of random codes."""
    layer = nn.QuantizedLinear(64, 32, bias=False, group_size=32, bits=4)
    layer.group_size, layer.weight = 64, mx.random.randint(0, 1 << 31, (outputs, inputs // 8)).astype(mx.uint32)
    scale = inputs**-0.5 / 4.6
    layer.scales = mx.full((outputs, inputs // 64), scale)
    layer.biases = mx.full((outputs, inputs // 64), -7.5 * scale)
    mx.eval(layer.parameters())
    return layer


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.projections = [linear(width, width) for _ in range(8)]
        self.linear1, self.linear2 = linear(width, inner), linear(inner, width)
        self.norm1, self.norm_cross, self.norm2 = (nn.LayerNorm(width) for _ in range(3))

    def split(self, x):
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(0, 2, 1, 3)

    def attend(self, q, k, v, mask=None):
        mixed = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5, mask=mask)
        return mixed.transpose(0, 2, 1, 3).flatten(2)

    def step(self, x, cache, at):
        """One position: `cache` has own keys and values up to `at`, the text's and the prefix's."""
        q, k, v, out, cross_q, _, _, cross_out = self.projections
        y = self.norm1(x)
        query = self.split(q(y))
        keys, values = cache["own"]
        keys[:, :, at : at + 1], values[:, :, at : at + 1] = self.split(k(y)), self.split(v(y))
        mixed = self.attend(query, keys[:, :, : at + 1], values[:, :, : at + 1])
        x = x + out(mixed + 0.5 * self.attend(query, *cache["prefix"]))
        x = x + cross_out(self.attend(self.split(cross_q(self.norm_cross(x))), *cache["text"]))
        return x + self.linear2(nn.gelu(self.linear1(self.norm2(x))))

    def condition(self, x, embedded, merge):
        """The layer in the CP transformer, over all frames."""
        q, k, v, out = self.projections[:4]
        y = self.norm1(x) + merge(embedded)
        x = x + out(self.attend(self.split(q(y)), self.split(k(y)), self.split(v(y)), "causal"))
        return x + self.linear2(nn.gelu(self.linear1(self.norm2(x))))


def main():
    shape = {name: int(value) for name, value in (argument.split("=") for argument in sys.argv[1:])}
    mx.set_default_device(mx.cpu)
    width, heads, frames = shape["width"], shape["heads"], shape["frames"]
    layers = [Layer(width, heads, shape["inner"]) for _ in range(shape["layers"])]
    head = [nn.Linear(width, shape["card"], bias=False) for _ in range(CODEBOOKS)]

    def block(rows, length):
        part = mx.random.normal((rows, heads, length, width // heads))
        mx.eval(part)
        return part

    def cache():
        prefix = [mx.broadcast_to(block(1, frames + 1), (2, heads, frames + 1, width // heads)) for _ in range(2)]
        return {"own": [block(2, frames + 3) for _ in range(2)], "text": [block(2, TEXT) for _ in range(2)], "prefix": prefix}

    caches, x, seconds = [cache() for _ in layers], mx.random.normal((2, 1, width)), []
    # In the middle, where the cache has its average length.
    for step in range(shape["steps"] + 1):
        begin, y = time.monotonic(), x
        for layer, own in zip(layers, caches):
            y = layer.step(y, own, frames // 2 + step)
        mx.eval([part(y) for part in head], [own["own"] for own in caches])
        seconds.append(time.monotonic() - begin)
    merge, embedded = linear(width, width), mx.random.normal((1, frames + 1, width))
    begin = time.monotonic()
    mx.eval(layers[0].condition(embedded, embedded, merge))
    condition = time.monotonic() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"steps": seconds[1:], "condition_layer": condition, "peak": peak}))


if __name__ == "__main__":
    main()
