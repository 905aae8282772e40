"""The files of a store: its spec, its shards, its index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.clips import Clip
from pipeline.features.checksum import compute_checksum
from pipeline.features.seal import USER_BLOCK_BYTES, read_sealed, seal
from pipeline.features.spec import ClipRecord, Failure, FeatureSpec
from pipeline.files import replacing, write_text
from pipeline.seals import dump_sealed, load_sealed

if TYPE_CHECKING:
    import h5py

INDEX = "index.h5"
SPEC = "spec.json"
FORMAT = "clip features 3"
# Without seals; the first also without checksums.
_WITHOUT_CHECKSUMS, _WITH_CHECKSUMS = "clip features 1", "clip features 2"
# What h5py raises on a file whose inner structure is damaged.
DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError)


def claim_store(folder: Path, spec: FeatureSpec) -> None:
    """Make the store of `spec`, or check that the one in `folder` was made with it.

    Raises ValueError naming every difference: features of two kinds never mix.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SPEC
    if not path.exists():
        write_text(path, dump_sealed(asdict(spec)))
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
            f"Make one with: python -m extract --videos VIDEOS --out {folder}\n"
            f"Of speech, with --speech SPEECH in place of --videos VIDEOS."
        )
    try:
        return FeatureSpec.from_dict(load_sealed(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}).\n"
            f"Delete it and run the same `python -m extract` again: what was made with other "
            f"options is done anew."
        ) from error


def read_shard(
    folder: Path, name: str
) -> tuple[FeatureSpec, tuple[ClipRecord, ...], tuple[Failure, ...]]:
    """The spec, the clips and the failures of one complete shard."""
    path = folder / f"{name}.h5"
    with naming_damage(path):
        content = read_sealed(path)
        if content is not None:
            return (
                FeatureSpec.from_dict(content["spec"]),
                tuple(ClipRecord.from_attributes(clip) for clip, _ in content["clips"]),
                tuple(_make_failure(failure) for failure in content["failures"]),
            )
    with open_unsealed(path) as file:
        spec = FeatureSpec.from_json(file.attrs["spec"])
        # By name: a damaged link is an error then, where values() gives None.
        clips = file["clips"]
        records = tuple(ClipRecord.from_attributes(clips[clip_id].attrs) for clip_id in clips)
        if file.attrs["format"] == _WITH_CHECKSUMS and not all(r.checksum for r in records):
            raise ValueError("a clip without a checksum")
        failures = tuple(_make_failure(group.attrs) for group in file["failures"].values())
    return spec, records, failures


def _make_failure(attributes: Mapping[str, Any]) -> Failure:
    content = dict(attributes)
    reason, num_bytes = content.pop("reason"), int(content.pop("num_bytes"))
    return Failure(Clip(**content), reason, num_bytes)


def write_index(folder: Path, spec: FeatureSpec, shards: Sequence[str]) -> None:
    """Write `index.h5`: a link to every clip of these shards, with all records in its seal."""
    import h5py  # noqa: PLC0415 - answers to videos come without it

    records = [(name, record) for name in shards for record in read_shard(folder, name)[1]]
    with replacing(folder / INDEX) as unfinished:
        with h5py.File(unfinished, "w", libver="v110", userblock_size=USER_BLOCK_BYTES) as file:
            file.attrs["format"] = FORMAT
            file.attrs["spec"] = spec.to_json()
            links = file.create_group("clips")
            for name, record in records:
                links[record.clip.id] = h5py.ExternalLink(f"{name}.h5", f"/clips/{record.clip.id}")
        seal(unfinished, {"clips": [(name, record.to_attributes()) for name, record in records]})


def read_index(folder: Path) -> tuple[tuple[str, ClipRecord], ...]:
    """The name of the shard and the record of every clip, in the order of `index.h5`."""
    path = folder / INDEX
    with naming_damage(path):
        content = read_sealed(path)
        if content is not None:
            return tuple(
                (name, ClipRecord.from_attributes(record)) for name, record in content["clips"]
            )
    with open_unsealed(path) as file:
        lines = list(file["records"].asstr()[:])
        if file.attrs["format"] == _WITH_CHECKSUMS and file.attrs["checksum"] != _sum_lines(lines):
            raise ValueError("its records do not have the checksum that it says")
        contents = [json.loads(line) for line in lines]
        return tuple((c.pop("shard"), ClipRecord.from_attributes(c)) for c in contents)


def _sum_lines(lines: Sequence[str]) -> str:
    return compute_checksum(np.frombuffer("\n".join(lines).encode(), np.uint8))


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Errors of reading a store's file as a ValueError that names it and says what mends it."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: run the same `python -m extract` again.")
    try:
        yield
    except DAMAGE as error:
        raise ValueError(
            f"{path} cannot be read, or is damaged ({error}).\n"
            f"Run the same `python -m extract` again, where the videos are: only its clips are "
            f"done anew."
        ) from error


@contextmanager
def open_unsealed(path: Path) -> Iterator[h5py.File]:
    """A file of a store of before seals, open for reading in the block.

    Raises ValueError where it is missing or foreign, or where the block finds it damaged.
    """
    import h5py  # noqa: PLC0415 - answers to videos come without it

    with naming_damage(path):
        with h5py.File(path, "r") as file:
            form = file.attrs.get("format")
            if form in (_WITHOUT_CHECKSUMS, _WITH_CHECKSUMS):
                yield file
                return
        said = "its seal is gone" if form == FORMAT else f"of the form {form!r}, not {FORMAT!r}"
        raise ValueError(said)
