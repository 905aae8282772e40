"""Reading all of a store's files to see whether they are what was written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py

from pipeline.features.checksum import find_damage
from pipeline.features.files import DAMAGE, INDEX, open_file, read_shard
from pipeline.features.spec import ClipRecord, Failure, FeatureSpec


@dataclass(frozen=True)
class ShardCheck:
    """What a shard holds, and for each damaged clip its id and what is wrong with it."""

    spec: FeatureSpec
    records: tuple[ClipRecord, ...]
    failures: tuple[Failure, ...]
    damages: tuple[tuple[str, str], ...]


def check_shard(folder: Path, name: str) -> ShardCheck:
    """Read every clip of a shard; ValueError where the file as a whole is missing or damaged."""
    spec, records, failures = read_shard(folder, name)
    with open_file(folder / f"{name}.h5") as file:
        found = [(record.clip.id, _check_clip(file, record, spec)) for record in records]
    damages = tuple((clip_id, damage) for clip_id, damage in found if damage is not None)
    return ShardCheck(spec, records, failures, damages)


def _check_clip(file: h5py.File, record: ClipRecord, spec: FeatureSpec) -> str | None:
    try:
        return find_damage(file["clips"][record.clip.id][:], record, spec)
    except DAMAGE as error:
        return f"cannot be read ({error})"


def find_wrong_links(folder: Path, indexed: Iterable[tuple[str, ClipRecord]]) -> list[str]:
    """Ids of the clips that `index.h5` does not link to the shard that its records name."""
    with open_file(folder / INDEX) as file:
        links = file["clips"]
        return [
            record.clip.id
            for shard, record in indexed
            if not _leads_to(links.get(record.clip.id, getlink=True), shard, record.clip.id)
        ]


def _leads_to(link: object, shard: str, clip_id: str) -> bool:
    return (
        isinstance(link, h5py.ExternalLink)
        and link.filename == f"{shard}.h5"
        and link.path == f"/clips/{clip_id}"
    )
