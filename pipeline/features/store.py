"""Reading a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.features.checksum import compute_checksum, find_damage
from pipeline.features.files import INDEX, read_index, read_shard, read_spec
from pipeline.features.places import Place, read_array, read_places


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
        indexed = read_index(self.folder)
        self.records = {record.clip.id: record for _, record in indexed}
        self._shard_of = {record.clip.id: shard for shard, record in indexed}
        self._contents: dict[str, _Contents] = {}

    @cached_property
    def digest(self) -> str:
        """16 hex digits that are equal where two stores hold the same clips with equal features.

        Over the spec without its versions, and each clip's id, label, group, path, length,
        checksum and, where it has some, labels of its steps; of features without checksums only
        that much is known.
        """
        lines = [self.spec.digest()]
        for clip_id, record in sorted(self.records.items()):
            clip = record.clip
            content = [clip_id, clip.label, clip.group, clip.path, record.num_steps]
            labels = [record.labels] if record.labels else []
            lines.append(json.dumps([*content, record.checksum, *labels]))
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()

    def read(self, clip_id: str) -> NDArray[Any]:
        """The features (T, D) of a clip, in the store's dtype.

        Raises ValueError where they are not what was written: their checksum is compared when a
        clip is first read, and again when its shard was replaced.
        """
        path = self.folder / f"{self._shard_of[clip_id]}.h5"
        known = self._contents.get(path.name)
        if known is None or known.state != _find_state(path):
            known = self._contents[path.name] = _Contents(_find_state(path), read_places(path))
        array = read_array(path, clip_id, known.places.get(clip_id))
        if clip_id not in known.checked:
            self._check(path, clip_id, array)
            known.checked.add(clip_id)
        return array

    def _check(self, path: Path, clip_id: str, array: NDArray[Any]) -> None:
        damage = find_damage(array, self.records[clip_id], self.spec)
        if damage is None:
            return
        _, records, _ = read_shard(self.folder, path.stem)
        own = {record.clip.id: record.checksum for record in records}
        if own.get(clip_id) == compute_checksum(array):
            raise ValueError(
                f"{self.folder}, clip {clip_id}: {path.name} holds other features than index.h5 "
                f"says: it was made anew since.\n"
                f"Start again; if that does not help, delete {self.folder / INDEX} and run the "
                f"same `python -m extract` again."
            )
        raise ValueError(
            f"{self.folder}, clip {clip_id}: its features in {path.name} are damaged: {damage}.\n"
            f"Run the same `python -m extract` again, where the videos are: only the clips of this "
            f"file are done anew. A store of features made elsewhere must be written again."
        )


@dataclass(frozen=True)
class _Contents:
    """A shard as it was: its file's `state`, where its clips lie, the clips `checked`."""

    state: tuple[int, ...]
    places: Mapping[str, Place | None]
    checked: set[str] = field(default_factory=set)


def _find_state(path: Path) -> tuple[int, ...]:
    """Changes when the file is written or replaced; () for none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
