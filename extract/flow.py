"""The flow of an extraction: plan, decode, encode, write, and account for every clip."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from extract.claims import claim_shard, hold_plan, write_shard
from extract.decode import ClipEnd, DecodePool
from extract.encode import BatchEncoder
from extract.leases import Leases
from extract.plan import Shard, is_done, plan_shards, read_plan
from extract.progress import Progress
from extract.resume import find_todo
from extract.shard import WriterThread, extract_shard
from pipeline.backbones import Backbone
from pipeline.clips import Clip, FoundClips, Problem
from pipeline.features import (
    INDEX,
    ClipRecord,
    FeatureSpec,
    check_index,
    claim_store,
    read_index,
    read_shard,
    write_index,
    write_videos_place,
    write_weights_place,
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
    """The state of the store after a call."""

    tally: Tally
    num_stored: int
    problems: tuple[Problem, ...]
    is_complete: bool


def extract_features(
    found: FoundClips,
    videos: Path,
    out: Path,
    *,
    backbone: Backbone,
    spec: FeatureSpec,
    num_workers: int,
    leases: Leases | None = None,
) -> Outcome:
    """Write the features of these clips into the store `out`, going on where it stopped."""
    with ExitStack() as stack:
        leases = stack.enter_context(leases or Leases())
        with hold_plan(out, leases):
            claim_store(out, spec)
            write_videos_place(out, videos)
            if backbone.weights_file is not None:
                write_weights_place(out, backbone.weights_file)
            shards = plan_shards(out, found.clips)
        left = find_todo(out, shards, videos, spec=spec)
        tally = Tally(redone=left.redone)
        if left.todo:
            # An index must never be older than a shard: it comes back when all shards are done.
            (out / INDEX).unlink(missing_ok=True)
            encoder = stack.enter_context(BatchEncoder(backbone))
            pool = stack.enter_context(DecodePool(num_workers, stride=spec.stride))
            writer = WriterThread()
            stack.callback(writer.close)
            progress = Progress(sum(len(shard.clips) for shard in left.todo))
            stack.callback(progress.close)
            work = _Work(videos, out, spec, leases, encoder, pool, writer, progress, tally)
            work.run(left.todo)
    return conclude(out, spec, found, shards, tally)


@dataclass(frozen=True)
class _Work:
    """What the shards of one call share."""

    videos: Path
    out: Path
    spec: FeatureSpec
    leases: Leases
    encoder: BatchEncoder
    pool: DecodePool
    writer: WriterThread
    progress: Progress
    tally: Tally

    def run(self, todo: Sequence[Shard]) -> None:
        start = time.perf_counter()
        with ExitStack() as claims:
            # The next shard's clips are asked for before this one is done: decoding never pauses.
            claimed = self._claim(todo, claims)
            current = next(claimed, None)
            self.encoder.warm_up()  # while the decoding processes start
            while current is not None:
                following = next(claimed, None)
                shard, claim = current
                self._extract(shard)
                claim.close()
                current = following
            held = [shard for shard in todo if shard.name in self.tally.left_to_others]
            self.tally.left_to_others.clear()
            for shard, claim in self._claim(held, claims, patiently=True):
                self._extract(shard)
                claim.close()
        self.tally.warm_up_seconds = self.encoder.warm_up_seconds
        self.tally.encode_seconds = self.encoder.seconds
        self.tally.write_seconds = self.writer.seconds
        self.tally.wall_seconds = time.perf_counter() - start

    def _claim(
        self, todo: Sequence[Shard], claims: ExitStack, *, patiently: bool = False
    ) -> Iterator[tuple[Shard, ExitStack]]:
        for shard in todo:
            claim = claims.enter_context(ExitStack())
            if not claim.enter_context(
                claim_shard(self.out, shard, self.leases, patiently=patiently)
            ):
                self.tally.left_to_others.append(shard.name)
            elif is_done(self.out, shard) and shard.name not in self.tally.redone:
                claim.close()
            else:
                for clip in shard.clips:
                    self.pool.ask(self.videos / clip.path)
                yield shard, claim

    def _extract(self, shard: Shard) -> None:
        with write_shard(self.out, shard, self.spec, self.leases) as file:
            clips = ((clip, self.pool.messages()) for clip in shard.clips)
            for done in extract_shard(clips, encoder=self.encoder, shard=file, writer=self.writer):
                self._count(done.num_steps, done.end)
                self.progress.add(done.num_steps)
            self.writer.wait()

    def _count(self, num_steps: int, end: ClipEnd) -> None:
        self.tally.num_clips += 1
        self.tally.num_steps += num_steps
        self.tally.num_frames += end.summary.num_decoded if end.summary else 0
        self.tally.decode_seconds += end.seconds


def conclude(
    out: Path, spec: FeatureSpec, found: FoundClips, shards: Sequence[Shard], tally: Tally
) -> Outcome:
    """Write problems.csv over everything the store knows and, when all is there, the index."""
    everything = read_plan(out)
    problems = list(found.problems)
    stored: list[tuple[str, ClipRecord]] = []
    for shard in everything:
        if not is_done(out, shard):
            continue
        _, records, failures = read_shard(out, shard.name)
        stored += [(shard.name, record) for record in records]
        problems += [_truncation(r.clip, r.problem) for r in records if r.problem]
        problems += [failure.as_problem() for failure in failures]
    problems.sort(key=lambda problem: problem.path)
    write_text(out / PROBLEMS, _to_csv(problems))
    is_complete = all(is_done(out, shard) for shard in shards)
    done = [shard.name for shard in everything if is_done(out, shard)]
    if is_complete and not _is_indexed(out, stored):
        write_index(out, spec, done)
    return Outcome(tally, len(stored), tuple(problems), is_complete)


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
