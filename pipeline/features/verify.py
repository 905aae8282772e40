"""Reading all of a store's files to see whether they are what was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.features.checksum import find_damage
from pipeline.features.files import INDEX, open_unsealed, read_shard
from pipeline.features.places import read_array, read_places
from pipeline.features.seal import is_as_written, read_sealed
from pipeline.features.spec import ClipRecord, Failure, FeatureSpec

_NOT_AS_WRITTEN = "its HDF5 is not what was written"


@dataclass(frozen=True)
class ShardCheck:
    """What a shard holds, and what is wrong with it: of each damaged clip its id and why.

    `damage` is of the file as a whole, "" for none.
    """

    spec: FeatureSpec
    records: tuple[ClipRecord, ...]
    failures: tuple[Failure, ...]
    damages: tuple[tuple[str, str], ...]
    damage: str = ""


def check_shard(folder: Path, name: str) -> ShardCheck:
    """Read every byte of a shard; ValueError where not even its list of clips can be read."""
    spec, records, failures = read_shard(folder, name)
    damages = tuple(_check_clips(folder / f"{name}.h5", records, spec))
    return ShardCheck(spec, records, failures, damages, _check_file(folder / f"{name}.h5"))


def _check_clips(
    path: Path, records: Iterable[ClipRecord], spec: FeatureSpec
) -> Iterator[tuple[str, str]]:
    places = read_places(path)
    for record in records:
        try:
            array = read_array(path, record.clip.id, places[record.clip.id])
        except ValueError as error:
            yield record.clip.id, str(error).partition("\n")[0]
            continue
        damage = find_damage(array, record, spec)
        if damage is not None:
            yield record.clip.id, damage


def _check_file(path: Path) -> str:
    if read_sealed(path) is None or is_as_written(path):
        return ""
    return _NOT_AS_WRITTEN


def check_index(folder: Path, indexed: Iterable[tuple[str, ClipRecord]]) -> Iterator[str]:
    """What is wrong with the links of `index.h5`, whose records are `indexed`."""
    path = folder / INDEX
    if read_sealed(path) is not None:
        if not is_as_written(path):
            yield _NOT_AS_WRITTEN
        return
    with open_unsealed(path) as file:
        links = file["clips"]
        for shard, record in indexed:
            link = links.get(record.clip.id, getlink=True)
            if not _leads_to(link, shard, record.clip.id):
                yield f"clip {record.clip.id}: a wrong link"


def _leads_to(link: object, shard: str, clip_id: str) -> bool:
    import h5py  # noqa: PLC0415 - answers to videos come without it

    return (
        isinstance(link, h5py.ExternalLink)
        and link.filename == f"{shard}.h5"
        and link.path == f"/clips/{clip_id}"
    )
