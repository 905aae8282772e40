"""What is read of a store's file, kept after its HDF5 and under a checksum.

HDF5 may hang, crash or answer wrongly where a file decayed, so nothing of it is asked for what a
text can say. A sealed file: a user block that begins with _MARK, the HDF5 file, which readers of
HDF5 find there, a text in JSON, and a footer with the text's length and two CRC-32s: of the text,
and of all that is before it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

USER_BLOCK_BYTES = 512
"""The least that HDF5 takes for a user block."""
_MARK = b"np-rnn, sealed 1\n"
_FOOTER = struct.Struct("<QII")
_BLOCK_BYTES = 2**20


def seal(path: Path, content: Mapping[str, Any]) -> None:
    """Seal an HDF5 file that was closed, written with a user block."""
    text = json.dumps(content).encode()
    with path.open("r+b") as file:
        file.write(_MARK)
        file.seek(0)
        checksum = _sum(file, path.stat().st_size)
        file.seek(0, 2)
        file.write(text + _FOOTER.pack(len(text), zlib.crc32(text), checksum))


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What the file was sealed with, None where it was not; ValueError where that decayed."""
    with path.open("rb") as file:
        found = _read_footer(file)
        if found is None:
            return None
        start, checksum, _ = found
        file.seek(start)
        text = file.read()[: -_FOOTER.size]
    if zlib.crc32(text) != checksum:
        raise ValueError("its list of clips does not have the checksum that it says")
    content: dict[str, Any] = json.loads(text)
    return content


def is_as_written(path: Path) -> bool:
    """Whether all bytes of a sealed file are those that were sealed: reads all of it."""
    with path.open("rb") as file:
        found = _read_footer(file)
        assert found is not None
        start, _, checksum = found
        file.seek(0)
        return _sum(file, start) == checksum


def _read_footer(file: BinaryIO) -> tuple[int, int, int] | None:
    """Where the text starts, its checksum, and that of what is before it; None for no seal."""
    if file.read(len(_MARK)) != _MARK:
        return None
    end = file.seek(0, 2) - _FOOTER.size
    if end >= USER_BLOCK_BYTES:
        file.seek(end)
        length, of_text, of_rest = _FOOTER.unpack(file.read())
        if length <= end - USER_BLOCK_BYTES:
            return end - length, of_text, of_rest
    raise ValueError("its end is missing or damaged")


def _sum(file: BinaryIO, num_bytes: int) -> int:
    """The CRC-32 of the next bytes."""
    checksum = 0
    while num_bytes > 0 and (block := file.read(min(_BLOCK_BYTES, num_bytes))):
        checksum = zlib.crc32(block, checksum)
        num_bytes -= len(block)
    return checksum
