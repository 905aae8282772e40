"""Files that appear whole or not at all: the one place that writes them so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"


@contextmanager
def replacing(path: Path, *, is_locked: bool = False) -> Iterator[Path]:
    """A file beside `path` to be written in the block; at its end it takes the place of `path`.

    Whatever stops the block, `path` is as it was, and nothing is left but what a kill leaves: a
    `*.part`. Each process has its own, unless the caller holds a lock on `path` (`is_locked`): the
    next one then writes over what a kill left.
    """
    own = "" if is_locked else f".{os.getpid()}"
    part = path.with_name(f"{path.name}{own}{PART}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 whole or not at all; the folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
