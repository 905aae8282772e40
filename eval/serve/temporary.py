"""The folder in which dropped videos lie until they are read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "np-rnn-serve-"
_LOCK = ".lock"


@contextmanager
def lend_temporary() -> Iterator[Path]:
    """A folder that is gone after the block, as are those that killed servers left.

    A server holds its folder's lock, which ends with its process in whatever way that does.
    """
    _remove_abandoned()
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        FileLock(Path(name) / _LOCK),
    ):
        yield Path(name)


def _remove_abandoned() -> None:
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (Timeout, OSError):  # it is in use, or another user's
            continue
