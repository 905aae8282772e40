"""Random bits that are a function of seed, stream and index alone, for sequences never stored.

Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") makes its numbers by
enciphering a counter, so that each sequence has a range of counters of its own. NumPy promises that
the raw bits of a bit generator stay the same in every version (NEP 19); it does not of the numbers
that its Generator makes of them, and so those are made here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]

DRAWS = "philox4x64"
"""The name of these draws, for the origin of what they make."""

# A word of the counter: no two streams share a number.
STREAMS = {"train": 0, "val": 1, "test": 2, "order": 3}


def draw_bits(seed: int, indices: Sequence[int], *, width: int, stream: str) -> Bits:
    """(B, width) 64 random bits each, a row for each of B indices, in [0, 2^64).

    A row begins at the counter (0, index, stream, 0), of four 64-bit words; the seed is the key.
    """
    philox = np.random.Philox(key=seed)
    # Moving the counter takes 1 µs, setting up a generator for each row 8 µs.
    state = philox.state
    counter = state["state"]["counter"]
    counter[2] = STREAMS[stream]
    bits = np.empty((len(indices), width), dtype=np.uint64)
    for row, index in zip(bits, indices, strict=True):
        counter[1] = index
        philox.state = state
        row[:] = philox.random_raw(width)
    return bits


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
    return np.argsort(draw_bits(seed, [0], width=size, stream="order")[0])
