"""Memory that is used again."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.memory import RecycledMemory


def test_memory_is_used_again_only_when_no_array_view_or_tensor_has_it() -> None:
    memory = RecycledMemory()
    first = memory.empty((4, 5), np.float16)
    place = first.ctypes.data
    assert memory.empty((4, 5), np.float16).ctypes.data != place
    view = torch.from_numpy(first)[1:]
    del first
    assert memory.empty((4, 5), np.float16).ctypes.data != place
    del view
    smaller = memory.empty((2, 3), np.float32)
    assert smaller.ctypes.data == place
    assert memory.empty((400, 5), np.float32).ctypes.data != place  # too large for what is free
