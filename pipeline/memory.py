"""Memory that is used again."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class RecycledMemory:
    """Arrays in the memory of earlier ones that nothing refers to any more.

    The first touch of fresh memory takes several times as long as a copy into used one.
    """

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.uint8]] = []

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """As numpy.empty. A view of the array, or a tensor of it, keeps its memory in use too."""
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        # References to a block: the list's, the one counted with, and of arrays made from it.
        free = [i for i in range(len(self._blocks)) if sys.getrefcount(self._blocks[i]) == 2]
        fitting = [i for i in free if len(self._blocks[i]) >= num_bytes]
        if fitting:
            block = self._blocks[fitting[0]]
        else:
            block = np.empty(num_bytes, np.uint8)
            used = [b for i, b in enumerate(self._blocks) if i not in free]
            self._blocks = [*used, block]
        return block[:num_bytes].view(dtype).reshape(shape)
