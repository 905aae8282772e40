"""Files that appear whole or not at all: the one place that writes them so."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".part"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A full disk, a used-up quota, a file over its limit."""
_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def replacing(path: Path, *, is_locked: bool = False) -> Iterator[Path]:
    """A file beside `path` to be written in the block; at its end it takes the place of `path`.

    Whatever stops the block, `path` is as it was, and nothing is left but what a kill leaves: a
    `*.part`. Each call has its own, on whatever host, unless the caller holds a lock on `path`
    (`is_locked`): the next one then writes over what a kill left.
    """
    own = "" if is_locked else f".{secrets.token_hex(4)}"
    unfinished = path.with_name(f"{path.name}{own}{UNFINISHED}")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8 whole or not at all; the folder is made where there is none."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes, *, is_locked: bool = False) -> None:
    """Write a file whole or not at all, as `replacing`; the folder is made where there is none.

    Raises OSError that says how much was needed where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, is_locked=is_locked) as unfinished, saying_need(path, len(content)):
        unfinished.write_bytes(content)


@contextmanager
def saying_need(path: Path, num_bytes: int) -> Iterator[None]:
    """A disk that is full in the block as an error that says how much `path` needs of it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        free = shutil.disk_usage(path.parent).free
        said = f"{path} needs {num_bytes:,} bytes, and {free:,} are free"
        raise OSError(error.errno, said) from error


def digest_file(path: Path) -> str:
    """32 hex digits that name the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def name_special(path: Path) -> str:
    """What lies there where it is neither a file nor a folder, as `a FIFO`; "" for these or none.

    To open it may wait for ever.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    return _SPECIAL.get(stat.S_IFMT(mode), "")
