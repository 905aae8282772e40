"""How the C library deals with memory that was freed."""

from __future__ import annotations

import ctypes
import sys

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD_BYTES = 32 * 2**20
_NEVER = -1


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next allocation; elsewhere nothing happens.

    It gives large blocks back to the system at once. What follows, first touches of fresh pages,
    took a tenth of an extraction's time, and a fifth of a video's answer (LOG.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
