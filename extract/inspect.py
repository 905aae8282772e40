"""What a feature store holds, as text."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

from extract.plan import is_done, read_plan
from pipeline.features import (
    DAMAGED,
    INDEX,
    TRUNCATED,
    ClipRecord,
    Failure,
    FeatureSpec,
    FeatureStore,
    read_shard,
    read_spec,
)


def describe_store(folder: Path) -> str:
    """Spec, clips per class, frames, shapes and damage of the store in `folder`."""
    spec = read_spec(folder)
    records, failures = _read_all(folder)
    lines = [str(folder), *(f"  {f.name:16s}{getattr(spec, f.name)}" for f in fields(FeatureSpec))]
    shards = read_plan(folder)
    absent = [shard.name for shard in shards if not is_done(folder, shard)]
    state = "not complete" if absent or not (folder / INDEX).is_file() else "complete"
    if shards:
        missing = f", missing: {', '.join(absent)}" if absent else ""
        num_done = len(shards) - len(absent)
        lines.append(f"  {'shards':16s}{num_done} of {len(shards)} done{missing}")
    num_frames = sum(record.num_frames for record in records)
    lines.append(f"\n{len(records)} clips, {num_frames} frames, {state}")
    if records:
        steps = sorted(record.num_steps for record in records)
        lines.append(
            f"shapes ({steps[0]}, {spec.dim}) to ({steps[-1]}, {spec.dim}), "
            f"median ({steps[len(steps) // 2]}, {spec.dim})"
        )
    lines += ["", f"{'class':24s}{'clips':>8s}{'frames':>10s}", *_per_class(records)]
    lines += ["", *_describe_damage(records, failures)]
    return "\n".join(lines)


def _read_all(folder: Path) -> tuple[list[ClipRecord], list[Failure]]:
    shards = read_plan(folder)
    if not shards:  # written elsewhere, without a plan
        return list(FeatureStore(folder).records.values()), []
    records: list[ClipRecord] = []
    failures: list[Failure] = []
    for shard in shards:
        if is_done(folder, shard):
            _, some_records, some_failures = read_shard(folder, shard.name)
            records += some_records
            failures += some_failures
    return records, failures


def _per_class(records: list[ClipRecord]) -> list[str]:
    num_clips = Counter(record.clip.label for record in records)
    num_frames: Counter[str] = Counter()
    for record in records:
        num_frames[record.clip.label] += record.num_frames
    return [
        f"{label:24s}{num_clips[label]:8d}{num_frames[label]:10d}" for label in sorted(num_clips)
    ]


def _describe_damage(records: list[ClipRecord], failures: list[Failure]) -> list[str]:
    missing = [f"  {f.clip.path}: {f.reason}" for f in failures]
    decoders = Counter(record.decoder for record in records if record.decoder)
    return [
        *(
            [f"decoders: {', '.join(f'{name} {n}' for name, n in decoders.items())}"]
            if decoders
            else []
        ),
        f"checksums: {_count_checksums(records)}",
        *_list_in_condition(records, TRUNCATED),
        *_list_in_condition(records, DAMAGED),
        f"missing: {len(missing)}",
        *missing,
    ]


def _list_in_condition(records: list[ClipRecord], condition: str) -> list[str]:
    found = [record for record in records if record.condition == condition]
    return [f"{condition}: {len(found)}", *(f"  {r.clip.path}: {r.problem}" for r in found)]


def _count_checksums(records: list[ClipRecord]) -> str:
    num = sum(bool(record.checksum) for record in records)
    rest = ", the others are not checked" if num < len(records) else ""
    return f"{num} of {len(records)} clips{rest}"
