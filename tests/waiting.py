"""Waiting for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(is_so: Callable[[], bool]) -> None:
    """Returns when it is so; AssertionError after ten minutes: it hangs."""
    for _ in range(30_000):
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError("waited for nothing")
