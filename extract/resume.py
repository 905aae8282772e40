"""Which shards an extraction that goes on has still to do, and which it has to do anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from extract.plan import Shard, find_changed, is_done
from pipeline.features import FeatureSpec, check_shard, read_shard


@dataclass(frozen=True)
class Resumption:
    """The shards `todo`; of those that are there but must be done anew, by name, why."""

    todo: tuple[Shard, ...]
    redone: dict[str, str]


def find_todo(out: Path, shards: Sequence[Shard], videos: Path, *, spec: FeatureSpec) -> Resumption:
    """What is left of these shards: those that are not there, are damaged, or of changed videos.

    Every byte of the store is compared only where else nothing would be left: it costs as long as
    reading the store. Raises ValueError for damaged shards of which not all videos are there: done
    anew, they would lose clips.
    """
    done = [shard for shard in shards if is_done(out, shard)]
    damaged = {s.name: why for s in done if (why := _compare(out, s, spec))}
    changed = {
        s.name: f"{', '.join(found)} changed since it was written"
        for s in done
        if s.name not in damaged and (found := find_changed(out, s, videos))
    }
    if not damaged and not changed and len(done) == len(shards):
        damaged = {s.name: why for s in done if (why := _compare_bytes(out, s))}
    _refuse_lost(out, [s for s in done if s.name in damaged], videos, damaged)
    redone = {**changed, **{name: f"it was damaged: {why}" for name, why in damaged.items()}}
    todo = tuple(s for s in shards if s.name in redone or s not in done)
    return Resumption(todo, redone)


def _compare(out: Path, shard: Shard, spec: FeatureSpec) -> str:
    """How the shard's list of clips is not the plan's and of this spec, or "" ."""
    try:
        found, records, failures = read_shard(out, shard.name)
    except ValueError as error:
        return str(error).partition("\n")[0]
    if differences := found.differences(spec):
        return f"it was made with {'; '.join(differences)}"
    held = {record.clip for record in records} | {failure.clip for failure in failures}
    return "" if held == set(shard.clips) else "it holds other clips than plan.json says"


def _compare_bytes(out: Path, shard: Shard) -> str:
    """What of the shard is not what was written, or ""."""
    check = check_shard(out, shard.name)
    named = [f"clip {clip_id}: {damage}" for clip_id, damage in check.damages]
    return "; ".join(named) or check.damage


def _refuse_lost(
    out: Path, damaged: Sequence[Shard], videos: Path, reasons: dict[str, str]
) -> None:
    lost = list(_describe_lost(damaged, videos, reasons))
    if lost:
        raise ValueError(
            "\n".join(lost) + f"\nPut the videos back below {videos}, or delete these shards in "
            f"{out} to do without the clips whose videos are gone."
        )


def _describe_lost(
    damaged: Sequence[Shard], videos: Path, reasons: dict[str, str]
) -> Iterator[str]:
    for shard in damaged:
        gone = [clip.path for clip in shard.clips if not (videos / clip.path).is_file()]
        if gone:
            yield (
                f"{shard.name}.h5 is damaged ({reasons[shard.name]}), but {len(gone)} of its "
                f"{len(shard.clips)} videos are not there to do it anew, such as {gone[0]}."
            )
