"""Damage done to the files of a store."""

from __future__ import annotations

from pathlib import Path

import h5py


def flip_bit(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def find_features(shard: Path, clip_id: str) -> range:
    """The bytes of a shard in which a clip's features lie."""
    with h5py.File(shard) as file:
        dataset = file["clips"][clip_id]
        start = dataset.id.get_offset()
        return range(start, start + dataset.id.get_storage_size())
