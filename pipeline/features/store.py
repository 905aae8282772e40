"""Reading a store."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.features.files import INDEX, open_file, read_spec
from pipeline.features.spec import ClipRecord


class FeatureStore:
    """Reads a complete store; no file stays open between reads, so workers may share it.

    `records` maps clip ids to what is known of them, in the order of their shards.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.spec = read_spec(self.folder)
        if not (self.folder / INDEX).is_file():
            raise ValueError(
                f"{self.folder} is not complete: index.h5 appears when every shard is there.\n"
                f"If an extraction is still running, wait for it; otherwise run the same "
                f"`python -m extract` again: it goes on where it stopped."
            )
        self.records: dict[str, ClipRecord] = {}
        self._shard_of: dict[str, str] = {}
        self._contents: dict[str, _Contents] = {}
        with open_file(self.folder / INDEX) as index:
            for line in index["records"].asstr()[:]:
                content = json.loads(line)
                shard = content.pop("shard")
                record = ClipRecord.from_attributes(content)
                self.records[record.clip.id] = record
                self._shard_of[record.clip.id] = shard

    def read(self, clip_id: str) -> NDArray[Any]:
        """The features (T, D) of a clip, in the store's dtype."""
        name = self._shard_of[clip_id]
        path = self.folder / f"{name}.h5"
        known = self._contents.get(name)
        if known is None or known.state != _find_state(path):
            known = self._contents[name] = _find_contents(path)
        place = known.places.get(clip_id)
        if place is None:
            with open_file(path) as file:
                array: NDArray[Any] = file["clips"][clip_id][:]
            return array
        count = math.prod(place.shape)
        return np.fromfile(path, place.dtype, count, offset=place.offset).reshape(place.shape)


@dataclass(frozen=True)
class _Place:
    """Where the numbers of a contiguous dataset lie in its file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Contents:
    """A shard as it was: its file's `state`, and the places of its contiguous clips.

    Reading these past HDF5 takes a fifth of the time, and leaves Python's lock to the training.
    """

    state: tuple[int, ...]
    places: dict[str, _Place] = field(default_factory=dict)


def _find_contents(path: Path) -> _Contents:
    contents = _Contents(_find_state(path))
    with open_file(path) as file:
        for clip_id, dataset in file["clips"].items():
            offset = dataset.id.get_offset()
            if offset is not None:  # None: in chunks
                contents.places[clip_id] = _Place(offset, dataset.shape, dataset.dtype)
    return contents


def _find_state(path: Path) -> tuple[int, ...]:
    """Changes when the file is written or replaced; () for none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
