"""Reading a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
        with open_file(self.folder / INDEX) as index:
            for line in index["records"].asstr()[:]:
                content = json.loads(line)
                shard = content.pop("shard")
                record = ClipRecord.from_attributes(content)
                self.records[record.clip.id] = record
                self._shard_of[record.clip.id] = shard

    def read(self, clip_id: str) -> NDArray[Any]:
        """The features (T, D) of a clip, in the store's dtype."""
        return next(self.read_many([clip_id]))

    def read_many(self, clip_ids: Iterable[str]) -> Iterator[NDArray[Any]]:
        """The features of several clips; each shard stays open while its clips follow in a row."""
        name, file = "", None
        try:
            for clip_id in clip_ids:
                if self._shard_of[clip_id] != name:
                    if file is not None:
                        file.close()
                    name = self._shard_of[clip_id]
                    file = open_file(self.folder / f"{name}.h5")
                assert file is not None
                yield file["clips"][clip_id][:]
        finally:
            if file is not None:
                file.close()
