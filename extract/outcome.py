"""What came of an extraction: every clip accounted for, the list of problems, the index."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extract.plan import Shard, is_done, read_plan
from pipeline.clips import Clip, FoundClips, Problem
from pipeline.features import (
    ClipRecord,
    FeatureSpec,
    check_index,
    read_index,
    read_shard,
    write_index,
)
from pipeline.files import write_text

PROBLEMS = "problems.csv"


@dataclass
class Tally:
    """What one call did: the numbers of its closing summary.

    `num_frames` were decoded, `num_steps` of them encoded.
    """

    num_clips: int = 0
    num_frames: int = 0
    num_steps: int = 0
    decode_seconds: float = 0.0
    warm_up_seconds: float = 0.0
    encode_seconds: float = 0.0
    write_seconds: float = 0.0
    wall_seconds: float = 0.0
    redone: dict[str, str] = field(default_factory=dict)
    left_to_others: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The state of the store after a call, or of its part."""

    tally: Tally
    num_shards: int
    """Of the clips that were asked for."""
    num_stored: int
    problems: tuple[Problem, ...]
    is_complete: bool


def conclude(
    out: Path, spec: FeatureSpec, found: FoundClips, shards: Sequence[Shard], tally: Tally
) -> Outcome:
    """Write problems.csv over everything the store knows and, when all is there, the index."""
    everything = read_plan(out)
    stored, problems = _read_shards(out, everything)
    problems = _sort([*found.problems, *problems])
    write_text(out / PROBLEMS, _to_csv(problems))
    is_complete = all(is_done(out, shard) for shard in shards)
    done = [shard.name for shard in everything if is_done(out, shard)]
    if is_complete and not _is_indexed(out, stored):
        write_index(out, spec, done)
    return Outcome(tally, len(shards), len(stored), tuple(problems), is_complete)


def conclude_part(out: Path, shards: Sequence[Shard], tally: Tally) -> Outcome:
    """What the shards of a part hold; nothing is written."""
    stored, problems = _read_shards(out, shards)
    is_complete = all(is_done(out, shard) for shard in shards)
    return Outcome(tally, len(shards), len(stored), tuple(_sort(problems)), is_complete)


def _read_shards(
    out: Path, shards: Sequence[Shard]
) -> tuple[list[tuple[str, ClipRecord]], list[Problem]]:
    """The records and the problems of those of the shards that are there."""
    stored: list[tuple[str, ClipRecord]] = []
    problems: list[Problem] = []
    for shard in shards:
        if not is_done(out, shard):
            continue
        _, records, failures = read_shard(out, shard.name)
        stored += [(shard.name, record) for record in records]
        problems += [_truncation(r.clip, r.problem) for r in records if r.problem]
        problems += [failure.as_problem() for failure in failures]
    return stored, problems


def _sort(problems: Sequence[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.path)


def _is_indexed(out: Path, stored: Sequence[tuple[str, ClipRecord]]) -> bool:
    """Whether the index is there, whole, and says what the shards hold."""
    try:
        indexed = read_index(out)
        return sorted(indexed, key=_clip_id) == sorted(stored, key=_clip_id) and not list(
            check_index(out, indexed)
        )
    except ValueError:
        return False


def _clip_id(stored: tuple[str, ClipRecord]) -> str:
    return stored[1].clip.id


def _truncation(clip: Clip, problem: str) -> Problem:
    return Problem(clip.path, clip.id, clip.label, problem)


def _to_csv(problems: Sequence[Problem]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "id", "label", "reason"])
    table.writerows([p.path, p.id, p.label, p.reason] for p in problems)
    return text.getvalue()
