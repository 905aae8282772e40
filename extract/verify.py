"""Whether a feature store is what was written: every shard, every clip, the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from extract.plan import Shard, is_done, read_plan
from pipeline.features import (
    INDEX,
    INT8_FILE,
    ClipRecord,
    FeatureSpec,
    ShardCheck,
    check_encoder,
    check_index,
    check_shard,
    read_index,
    read_spec,
)

_Read = TypeVar("_Read")
_Indexed = Sequence[tuple[str, ClipRecord]]


@dataclass(frozen=True)
class Verification:
    """What was found in a store: `damages` are lines that name a file and, in it, a clip.

    `num_unchecked` clips were written without a checksum: they were read, and no more.
    """

    folder: Path
    num_clips: int
    num_unchecked: int
    damages: tuple[str, ...]

    def __str__(self) -> str:
        num_checked = self.num_clips - self.num_unchecked
        read = f"{self.folder}: {self.num_clips} clips read"
        if self.num_unchecked:
            read += f", {self.num_unchecked} of them without a checksum, so not compared"
        if not self.damages:
            return f"{read}; {num_checked} are as they were written"
        return "\n".join(
            [
                *(f"  {line}" for line in self.damages),
                f"{read}, {len(self.damages)} damages",
                "Run the same `python -m extract` again, where the videos are: only the clips of "
                "the damaged files are done anew.",
                "A store of features made elsewhere must be written again.",
            ]
        )


def verify_store(folder: Path) -> Verification:
    """Read everything in a store; ValueError where there is none."""
    spec = read_spec(folder)
    found, of_plan = _read_or_say(partial(read_plan, folder))
    index, of_index = _read_or_say(partial(read_index, folder))
    plan = found or []
    checks: dict[str, ShardCheck] = {}
    of_shards: list[str] = []
    for name in _name_shards(folder, plan, index or ()):
        check, said = _read_or_say(partial(check_shard, folder, name))
        of_shards += said
        if check is not None:
            checks[name] = check
            of_shards += _describe_shard(name, check, spec)
    records = [record for check in checks.values() for record in check.records]
    return Verification(
        folder,
        num_clips=len(records),
        num_unchecked=sum(not record.checksum for record in records),
        damages=(
            *of_plan, *_find_missing(folder, plan, checks), *of_shards, *of_index,
            *_check_encoder(folder, spec),
            *(() if index is None else _compare_with_index(folder, index, checks)),
        ),
    )  # fmt: skip


def _read_or_say(read: Callable[[], _Read]) -> tuple[_Read | None, list[str]]:
    """What `read` gives, or None and the line that says what is damaged."""
    try:
        return read(), []
    except ValueError as error:
        return None, [str(error).partition("\n")[0]]


def _check_encoder(folder: Path, spec: FeatureSpec) -> list[str]:
    if spec.is_int8 and not (folder / INT8_FILE).is_file():
        return [f"{INT8_FILE} is missing: runs on this store cannot read videos"]
    return _read_or_say(partial(check_encoder, folder, spec))[1]


def _name_shards(folder: Path, plan: Sequence[Shard], index: _Indexed) -> list[str]:
    """The shards that are there, and those that the index names."""
    there = {shard.name for shard in plan if is_done(folder, shard)}
    there |= {path.stem for path in folder.glob("shard-*.h5")}
    planned = {shard.name for shard in plan}
    return sorted(there | ({shard for shard, _ in index} - planned))


def _find_missing(
    folder: Path, plan: Sequence[Shard], checks: Mapping[str, ShardCheck]
) -> Iterator[str]:
    for shard in plan:
        if not is_done(folder, shard):
            yield f"{shard.name}.h5 is missing: {len(shard.clips)} clips"
        elif shard.name in checks:
            check = checks[shard.name]
            held = {r.clip for r in check.records} | {f.clip for f in check.failures}
            yield from _name_clips(shard.name, (c.id for c in shard.clips if c not in held))


def _name_clips(name: str, clip_ids: Iterator[str]) -> Iterator[str]:
    for clip_id in clip_ids:
        yield f"{name}.h5, clip {clip_id}: not in it as plan.json says"


def _describe_shard(name: str, check: ShardCheck, spec: FeatureSpec) -> Iterator[str]:
    if check.damage and not check.damages:
        yield f"{name}.h5: {check.damage}"
    for clip_id, damage in check.damages:
        yield f"{name}.h5, clip {clip_id}: {damage}"
    if differences := check.spec.differences(spec):
        yield f"{name}.h5 was made with {'; '.join(differences)} of spec.json"


def _compare_with_index(
    folder: Path, index: _Indexed, checks: Mapping[str, ShardCheck]
) -> Iterator[str]:
    indexed = {record.clip.id: (shard, record) for shard, record in index}
    held = {
        record.clip.id: (name, record) for name, check in checks.items() for record in check.records
    }
    for clip_id, (name, record) in held.items():
        if clip_id not in indexed:
            yield f"{INDEX}, clip {clip_id}: missing, but in {name}.h5"
        elif indexed[clip_id] != (name, record):
            yield f"{INDEX}, clip {clip_id}: not what {name}.h5 says of it"
    for clip_id, (name, _) in indexed.items():
        if name in checks and clip_id not in held:
            yield f"{name}.h5, clip {clip_id}: missing, but in {INDEX}"
    wrong, said = _read_or_say(lambda: list(check_index(folder, index)))
    yield from said
    yield from (f"{INDEX}: {line}" for line in wrong or ())
