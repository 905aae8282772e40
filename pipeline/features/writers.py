"""Writing a store: a shard at a time, or features made elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.clips import Clip
from pipeline.features.checksum import Checksum
from pipeline.features.files import FORMAT, INDEX, claim_store, write_index
from pipeline.features.places import SealedPlace, find_place
from pipeline.features.seal import USER_BLOCK_BYTES, seal
from pipeline.features.spec import ClipRecord, Failure, FeatureSpec
from pipeline.files import replacing, saying_need

if TYPE_CHECKING:
    import h5py

# Frames of a clip held until they are written; a longer clip becomes a chunked dataset.
_BUFFER_FRAMES = 4096
# What HDF5 writes beside the numbers: with a file, and with each clip or piece of one.
_LEAST_ROOM_BYTES, _CLIP_ROOM_BYTES = 2**16, 2**14


class _Room:
    """Room on the disk for a file that HDF5 writes, taken before.

    HDF5 that meets a full disk can neither write nor close, and says so for each object it holds.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._num_bytes = 0

    def extend(self, num_bytes: int) -> None:
        """Take so much more; OSError where the disk has not got it."""
        start, self._num_bytes = self._num_bytes, self._num_bytes + num_bytes
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with saying_need(self._path, self._num_bytes):
                os.posix_fallocate(self._descriptor, start, num_bytes)


def _num_bytes(rows: Sequence[NDArray[Any]]) -> int:
    return sum(array.nbytes for array in rows)


class ShardWriter:
    """Writes one shard; the file appears under its name when the block ends without an error.

    with ShardWriter(folder, "shard-0000", spec) as shard:
        shard.append(rows)          # (n, D), as often as wanted
        shard.finish(record)        # the rows so far are this clip's
    """

    def __init__(self, folder: Path, name: str, spec: FeatureSpec) -> None:
        self._path = folder / f"{name}.h5"
        self._whole = ExitStack()
        self._spec = spec
        self._rows: list[NDArray[np.generic]] = []
        self._num_buffered = 0
        self._checksum = Checksum()
        self._open_clip: h5py.Dataset | None = None
        self._clips: list[tuple[dict[str, Any], SealedPlace | None]] = []
        self._failures: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        import h5py  # noqa: PLC0415 - answers to videos come without it

        unfinished = self._whole.enter_context(replacing(self._path))
        self._whole.push(partial(self._seal, unfinished))
        room = self._whole.enter_context(unfinished.open("wb"))
        self._room = _Room(self._path, room.fileno())
        self._room.extend(_LEAST_ROOM_BYTES)
        file = h5py.File(
            unfinished, "w", libver="v110", track_order=False, userblock_size=USER_BLOCK_BYTES
        )
        self._file = self._whole.enter_context(file)
        self._file.attrs["format"] = FORMAT
        self._file.attrs["spec"] = self._spec.to_json()
        self._file.create_group("clips")
        self._file.create_group("failures")
        return self

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (n, D) to the clip being written; ValueError if any is not finite."""
        if rows.ndim != 2 or rows.shape[1] != self._spec.dim:
            raise ValueError(f"expected features (T, {self._spec.dim}), found {rows.shape}.")
        with np.errstate(over="ignore"):
            stored = rows.astype(self._spec.dtype)
        if not np.isfinite(stored).all():
            raise ValueError(
                f"features of {rows.shape} hold NaN or infinity, or numbers too large for "
                f"{self._spec.dtype} (largest {np.abs(rows).max():.4g})."
            )
        self._checksum.add(stored)
        self._rows.append(stored)
        self._num_buffered += len(stored)
        if self._num_buffered >= _BUFFER_FRAMES:
            self._flush()

    def discard(self) -> None:
        """Forget the clip being written."""
        self._rows, self._num_buffered, self._checksum = [], 0, Checksum()
        if self._open_clip is not None:
            del self._file["open clip"]
            self._open_clip = None

    def finish(self, record: ClipRecord) -> None:
        """End the clip being written: `record` says which it is; its checksum is filled in."""
        name = f"clips/{record.clip.id}"
        self._room.extend(_num_bytes(self._rows) + _CLIP_ROOM_BYTES)
        if self._open_clip is not None:
            if self._rows:
                self._flush()
            self._file.move("open clip", name)
            dataset = self._open_clip
        else:
            dataset = self._file.create_dataset(name, data=np.concatenate(self._rows))
        assert len(dataset) == record.num_steps
        summed = replace(record, checksum=self._checksum.hex_digits())
        attributes = summed.to_attributes()
        for key, value in attributes.items():
            dataset.attrs[key] = value
        self._clips.append((attributes, find_place(dataset)))
        if self._spec.stride > 1:
            dataset.attrs["frame_indices"] = np.arange(record.num_steps) * self._spec.stride
        self._rows, self._num_buffered, self._checksum = [], 0, Checksum()
        self._open_clip = None

    def record_failure(self, failure: Failure) -> None:
        """Note a clip that gave no features."""
        self.discard()
        self._room.extend(_CLIP_ROOM_BYTES)
        group = self._file["failures"].create_group(failure.clip.id)
        content = {**asdict(failure.clip), "reason": failure.reason, "num_bytes": failure.num_bytes}
        for key, value in content.items():
            group.attrs[key] = value
        self._failures.append(content)

    def _seal(self, unfinished: Path, kind: type[BaseException] | None, *_: object) -> None:
        """Seal the file that was closed, unless an error ended it."""
        if kind is None:
            os.truncate(unfinished, self._num_written)
            clips = sorted(self._clips, key=lambda clip: str(clip[0]["id"]))
            content = {"clips": clips, "failures": self._failures, "spec": asdict(self._spec)}
            seal(unfinished, content)

    def _flush(self) -> None:
        rows = np.concatenate(self._rows)
        self._room.extend(rows.nbytes + _CLIP_ROOM_BYTES)
        if self._open_clip is None:
            self._open_clip = self._file.create_dataset(
                "open clip", shape=(0, self._spec.dim), maxshape=(None, self._spec.dim),
                dtype=self._spec.dtype, chunks=(256, self._spec.dim),
            )  # fmt: skip
        start = len(self._open_clip)
        self._open_clip.resize(start + len(rows), axis=0)
        self._open_clip[start:] = rows
        self._rows, self._num_buffered = [], 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._file.flush()
            self._num_written = self._file.id.get_filesize()
        self._whole.__exit__(kind, error, traceback)


class FeatureWriter:
    """Writes features made elsewhere as a store that `train` and `eval` read.

    with FeatureWriter("features/mine", FeatureSpec(backbone="mine", dim=512)) as writer:
        writer.write(Clip("walk_01", "walk", "", "walk/walk_01.mp4"), array)  # (T, 512)
    """

    def __init__(self, folder: Path | str, spec: FeatureSpec, *, clips_per_shard: int = 64) -> None:
        self._folder = Path(folder)
        self._spec = spec
        self._clips_per_shard = clips_per_shard
        self._pending: list[tuple[ClipRecord, NDArray[Any]]] = []
        self._shards: list[str] = []

    def __enter__(self) -> Self:
        if (self._folder / INDEX).exists():
            raise ValueError(f"{self._folder} holds a store already: choose another folder.")
        claim_store(self._folder, self._spec)
        return self

    def write(self, clip: Clip, features: NDArray[Any], *, fps: float = 0.0) -> None:
        """Store the features (T, D) of a clip; `fps` 0 where it is not known."""
        record = ClipRecord(clip, len(features), (len(features) - 1) * self._spec.stride + 1, fps)
        self._pending.append((record, features))
        if len(self._pending) == self._clips_per_shard:
            self._write_shard()

    def _write_shard(self) -> None:
        name = f"shard-{len(self._shards):05d}"
        with ShardWriter(self._folder, name, self._spec) as shard:
            for record, features in self._pending:
                try:
                    shard.append(features)
                except ValueError as error:
                    raise ValueError(f"clip {record.clip.id}: {error}") from error
                shard.finish(record)
        self._shards.append(name)
        self._pending = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            if self._pending:
                self._write_shard()
            write_index(self._folder, self._spec, self._shards)
