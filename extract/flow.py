"""The flow of an extraction: plan, decode, encode, write, and account for every clip."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from extract.claims import claim_shard, hold_plan, write_shard
from extract.decode import ClipEnd, DecodePool
from extract.encode import BatchEncoder
from extract.leases import Leases
from extract.outcome import Outcome, Tally, conclude, conclude_part
from extract.parts import Part
from extract.plan import Shard, is_done, plan_shards
from extract.progress import Progress
from extract.resume import find_todo
from extract.shard import WriterThread, extract_shard
from pipeline.backbones import Backbone
from pipeline.clips import FoundClips
from pipeline.features import (
    INDEX,
    FeatureSpec,
    claim_store,
    write_videos_place,
    write_weights_place,
)


def extract_features(
    found: FoundClips,
    videos: Path,
    out: Path,
    *,
    backbone: Backbone,
    spec: FeatureSpec,
    num_workers: int,
    part: Part | None = None,
    leases: Leases | None = None,
) -> Outcome:
    """Write the features of these clips into the store `out`, going on where it stopped.

    Of a part only its shards are looked at, and the index is left to `finish_store`.
    """
    with ExitStack() as stack:
        leases = stack.enter_context(leases or Leases())
        with hold_plan(out, leases):
            claim_store(out, spec)
            write_videos_place(out, videos)
            if backbone.weights_file is not None:
                write_weights_place(out, backbone.weights_file)
            shards = plan_shards(out, found.clips)
            if part is not None:
                shards = part.choose(shards)
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
    if part is not None:
        return conclude_part(out, shards, tally)
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
            if held:
                names = ", ".join(shard.name for shard in held)
                print(
                    f"Looking whether who holds {names} is alive ...", file=sys.stderr, flush=True
                )
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
