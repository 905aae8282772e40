"""The files of a store: its spec, its shards, its index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from pipeline.clips import Clip
from pipeline.features.checksum import compute_checksum
from pipeline.features.spec import ClipRecord, Failure, FeatureSpec
from pipeline.files import replacing, write_text

INDEX = "index.h5"
SPEC = "spec.json"
FORMAT = "clip features 2"
_WITHOUT_CHECKSUMS = "clip features 1"
# What h5py raises on a file whose inner structure is damaged.
DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError)


def claim_store(folder: Path, spec: FeatureSpec) -> None:
    """Make the store of `spec`, or check that the one in `folder` was made with it.

    Raises ValueError naming every difference: features of two kinds never mix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SPEC
    if not path.exists():
        write_text(path, spec.to_json())
        return
    differences = read_spec(folder).differences(spec)
    if differences:
        raise ValueError(
            f"{folder} was made with {'; '.join(differences)}.\n"
            f"Extract with the options and versions it was made with, or into another folder with "
            f"--out."
        )


def read_spec(folder: Path) -> FeatureSpec:
    """The spec of the store in `folder`; ValueError where there is none that can be read."""
    path = folder / SPEC
    if not path.is_file():
        what = "no spec.json" if folder.is_dir() else "no such folder"
        raise ValueError(
            f"{folder}: expected a feature store, found {what}.\n"
            f"Make one with: python -m extract --videos VIDEOS --out {folder}"
        )
    try:
        return FeatureSpec.from_json(path.read_text())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_shard(
    folder: Path, name: str
) -> tuple[FeatureSpec, tuple[ClipRecord, ...], tuple[Failure, ...]]:
    """The spec, the clips and the failures of one complete shard."""
    with open_file(folder / f"{name}.h5") as file:
        spec = FeatureSpec.from_json(file.attrs["spec"])
        # By name: a damaged link is an error then, where values() gives None.
        clips = file["clips"]
        records = tuple(ClipRecord.from_attributes(clips[clip_id].attrs) for clip_id in clips)
        if file.attrs["format"] == FORMAT and not all(record.checksum for record in records):
            raise ValueError("a clip without a checksum")
        failures = []
        for group in file["failures"].values():
            content = dict(group.attrs)
            reason, num_bytes = content.pop("reason"), int(content.pop("num_bytes"))
            failures.append(Failure(Clip(**content), reason, num_bytes))
    return spec, records, tuple(failures)


def write_index(folder: Path, spec: FeatureSpec, shards: Sequence[str]) -> None:
    """Write `index.h5`: a link to every clip of these shards, with all records beside them."""
    with replacing(folder / INDEX) as unfinished, h5py.File(unfinished, "w", libver="v110") as file:
        file.attrs["format"] = FORMAT
        file.attrs["spec"] = spec.to_json()
        links = file.create_group("clips")
        lines = []
        for name in shards:
            _, records, _ = read_shard(folder, name)
            for record in records:
                link = h5py.ExternalLink(f"{name}.h5", f"/clips/{record.clip.id}")
                links[record.clip.id] = link
                lines.append(json.dumps({**record.to_attributes(), "shard": name}))
        # Of one length: HDF5 may hang on damage among strings of several.
        length = max((len(line.encode()) for line in lines), default=1)
        file.create_dataset("records", data=lines, dtype=h5py.string_dtype(length=length))
        file.attrs["checksum"] = _sum_lines(lines)


def read_index(folder: Path) -> tuple[tuple[str, ClipRecord], ...]:
    """The name of the shard and the record of every clip, in the order of `index.h5`."""
    with open_file(folder / INDEX) as file:
        lines = list(file["records"].asstr()[:])
        if file.attrs["format"] == FORMAT and file.attrs["checksum"] != _sum_lines(lines):
            raise ValueError("its records do not have the checksum that it says")
        contents = [json.loads(line) for line in lines]
        return tuple((c.pop("shard"), ClipRecord.from_attributes(c)) for c in contents)


def _sum_lines(lines: Sequence[str]) -> str:
    return compute_checksum(np.frombuffer("\n".join(lines).encode(), np.uint8))


@contextmanager
def open_file(path: Path) -> Iterator[h5py.File]:
    """A file of a store, open for reading in the block.

    Raises ValueError where it is missing or foreign, or where the block finds it damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing: run the same `python -m extract` again.")
    try:
        with h5py.File(path, "r") as file:
            form = file.attrs.get("format")
            if form in (FORMAT, _WITHOUT_CHECKSUMS):
                yield file
                return
    except DAMAGE as error:
        raise ValueError(
            f"{path} cannot be read as HDF5, or is damaged ({error}).\n"
            f"Delete it and run the same `python -m extract` again: only its clips are done anew."
        ) from error
    raise ValueError(f"{path}: expected a file of the form {FORMAT!r}, found {form!r}.")
