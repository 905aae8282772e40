"""Random bits that are a function of their place alone, for sequences that are never stored.

SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"): number n
of the stream is a hash of seed + n · gamma. So the draws of any batch of sequences are computed at
once, and are the same in every epoch, process and version of any library. A generator of NumPy or
PyTorch would have to be set up anew for each sequence, at about 15 µs each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]

# Quarters of the generator's 2^64 numbers: no two streams share one.
STREAMS = {"train": 0, "val": 1 << 62, "test": 2 << 62, "order": 3 << 62}

_GAMMA = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def draw_bits(seed: int, places: Bits, *, stream: str) -> Bits:
    """64 random bits for each of the `places` (any shape) in a stream, each below 2^62.

    Different places of any of the seed's streams have different bits: the hash is a bijection.
    """
    start = (seed + (STREAMS[stream] + 1) * _GAMMA) & _MASK
    bits = places * np.uint64(_GAMMA)
    bits += np.uint64(start)
    shifted = np.empty_like(bits)  # fresh memory for each step would cost more than the step
    bits ^= np.right_shift(bits, np.uint64(30), out=shifted)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= np.right_shift(bits, np.uint64(27), out=shifted)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= np.right_shift(bits, np.uint64(31), out=shifted)
    return bits


def draw_rows(seed: int, rows: NDArray[np.int64], *, width: int, stream: str) -> Bits:
    """(B, width) bits of some rows (B,) of an endless table, row r at places [r·width, ...)."""
    places = rows[:, None] * width + np.arange(width)
    return draw_bits(seed, places.view(np.uint64), stream=stream)


def to_unit(bits: Bits) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1), multiples of 2^-24, from the upper bits: float32 holds no more."""
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def to_whole(bits: Bits, bound: int) -> NDArray[np.int64]:
    """Uniform whole numbers in [0, bound), bound <= 2^32, from the upper bits.

    Their shares differ by up to bound / 2^32 of themselves (Lemire 2019, without the rejection).
    """
    return (((bits >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def draw_permutation(seed: int, size: int) -> NDArray[np.int64]:
    """(size,) the numbers from 0 to size - 1 in an order drawn by the seed."""
    bits = draw_bits(seed, np.arange(size, dtype=np.uint64), stream="order")
    return np.argsort(bits)
