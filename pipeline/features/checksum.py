"""The checksum of a clip's features, by which a store that decayed is told from a whole one.

CRC-32 as in zip and gzip (ISO 3309): no flipped bit and no damaged stretch of up to 32 bits escapes
it, other damage does once in 4 billion times. It costs about as much as reading from the page
cache (LOG.md); it is no defence against someone who means harm.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.features.spec import ClipRecord, FeatureSpec


class Checksum:
    """The checksum of an array whose rows come in pieces."""

    def __init__(self) -> None:
        self._value = 0

    def add(self, rows: NDArray[Any]) -> None:
        """Go on with rows, as they are stored: in the store's dtype, each row in one piece."""
        self._value = zlib.crc32(np.ascontiguousarray(rows).data, self._value)

    def hex_digits(self) -> str:
        """Eight hex digits over all rows so far."""
        return f"{self._value:08x}"


def compute_checksum(array: NDArray[Any]) -> str:
    """Eight hex digits: the CRC-32 of the array's bytes, row after row."""
    checksum = Checksum()
    checksum.add(array)
    return checksum.hex_digits()


def find_damage(array: NDArray[Any], record: ClipRecord, spec: FeatureSpec) -> str | None:
    """How this array differs from the one that was written, None where it is the same.

    A record without a checksum says nothing of its features: None.
    """
    if not record.checksum:
        return None
    expected = f"({record.num_steps}, {spec.dim}) {spec.dtype}"
    if (found := f"{array.shape} {array.dtype}") != expected:
        return f"expected {expected}, found {found}"
    if (checksum := compute_checksum(array)) != record.checksum:
        return f"expected the checksum {record.checksum}, found {checksum}"
    return None
