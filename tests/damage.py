"""Damage done to the files of a store."""

from __future__ import annotations

import re
from pathlib import Path

import h5py

from pipeline.seals import BLANK


def flip_bit(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def blank_seal(text: str) -> str:
    """A sealed text as it was before: to be changed and sealed again."""
    return re.sub("crc32:[0-9a-f]{8}", BLANK, text)


def find_features(shard: Path, clip_id: str) -> range:
    """The bytes of a shard in which a clip's features lie."""
    with h5py.File(shard) as file:
        dataset = file["clips"][clip_id]
        start = dataset.id.get_offset()
        return range(start, start + dataset.id.get_storage_size())
