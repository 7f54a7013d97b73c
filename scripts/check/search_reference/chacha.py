"""The random numbers of rand_chacha's ChaCha8Rng::seed_from_u64: ChaCha with 8 rounds (D. J. Bernstein), a key from PCG32."""

import struct

MASK = 0xFFFF_FFFF


def key_of(seed: int) -> list[int]:
    """The key that rand_core 0.9 makes of a number."""
    state, words = seed, []
    for _ in range(8):
        state = (state * 6364136223846793005 + 11634580027462260723) % (1 << 64)
        shifted = (((state >> 18) ^ state) >> 27) & MASK
        rotation = state >> 59
        words.append(((shifted >> rotation) | (shifted << (-rotation % 32))) & MASK)
    return words


def block(key: list[int], counter: int) -> list[int]:
    """16 words of the stream."""
    constants = list(struct.unpack("<4I", b"expand 32-byte k"))
    start = constants + key + [counter & MASK, counter >> 32, 0, 0]
    x = list(start)

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for first, second, third, rotation in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            x[first] = (x[first] + x[second]) & MASK
            mixed = x[third] ^ x[first]
            x[third] = ((mixed << rotation) | (mixed >> (32 - rotation))) & MASK

    for _ in range(4):
        quarter(0, 4, 8, 12), quarter(1, 5, 9, 13), quarter(2, 6, 10, 14), quarter(3, 7, 11, 15)
        quarter(0, 5, 10, 15), quarter(1, 6, 11, 12), quarter(2, 7, 8, 13), quarter(3, 4, 9, 14)
    return [(a + b) & MASK for a, b in zip(x, start)]


def below(seed: int):
    """A function that returns random numbers below its argument."""
    key = key_of(seed)

    def words():
        counter = 0
        while True:
            yield from block(key, counter)
            counter += 1

    stream = words()

    def draw(end: int) -> int:
        low = next(stream)
        return ((low | next(stream) << 32) * end) >> 64

    return draw
