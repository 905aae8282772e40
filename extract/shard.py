"""One shard: chunks of its clips in, rows of features routed to the clips they belong to."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extract.decode import ClipEnd, Message
from extract.encode import BatchEncoder
from pipeline.clips import Clip
from pipeline.features import ClipRecord, Failure, ShardWriter
from pipeline.video import DECODER


class WriterThread:
    """Does the writing of a shard in order, beside the computing; an error comes out of `wait`."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="write")
        self._futures: deque[Future[None]] = deque()
        self.seconds = 0.0
        """Seconds spent writing."""

    def submit(self, action: Callable[..., object], *arguments: Any) -> None:
        """Do this after what was submitted before."""
        while self._futures and self._futures[0].done():
            self._futures.popleft().result()
        self._futures.append(self._executor.submit(self._run, action, *arguments))

    def _run(self, action: Callable[..., object], *arguments: Any) -> None:
        start = time.perf_counter()
        action(*arguments)
        self.seconds += time.perf_counter() - start

    def wait(self) -> None:
        """Return when everything submitted is done; raises what it raised."""
        while self._futures:
            self._futures.popleft().result()

    def close(self) -> None:
        """Drop what was not begun, and end the thread."""
        self._executor.shutdown(cancel_futures=True)


@dataclass
class _OpenClip:
    """A clip whose rows are not all written: how many it asked for, how many it got."""

    clip: Clip
    num_steps: int = 0
    num_written: int = 0
    end: ClipEnd | None = None


@dataclass(frozen=True)
class ClipDone:
    """A clip that was read to its end: for the progress line and the summary."""

    clip: Clip
    num_steps: int
    end: ClipEnd


def extract_shard(
    clips: Iterable[tuple[Clip, Iterator[Message]]],
    *,
    encoder: BatchEncoder,
    shard: ShardWriter,
    writer: WriterThread,
) -> Iterator[ClipDone]:
    """Encode the chunks of these clips and write their rows; gives each clip when it was read."""
    rows = _RowRouter(shard, writer)
    for clip, messages in clips:
        rows.begin(clip)
        for message in messages:
            if isinstance(message, ClipEnd):
                yield ClipDone(clip, rows.end(message), message)
            else:
                rows.expect(len(message))
                for features in encoder.add(message):
                    rows.deliver(features)
    for features in encoder.flush():
        rows.deliver(features)
    assert rows.is_empty


class _RowRouter:
    """Gives the rows, which come in the order of the frames, to the clips in theirs."""

    def __init__(self, shard: ShardWriter, writer: WriterThread) -> None:
        self._shard = shard
        self._writer = writer
        self._open: deque[_OpenClip] = deque()

    @property
    def is_empty(self) -> bool:
        return not self._open

    def begin(self, clip: Clip) -> None:
        self._open.append(_OpenClip(clip))

    def expect(self, num_steps: int) -> None:
        self._open[-1].num_steps += num_steps

    def end(self, end: ClipEnd) -> int:
        current = self._open[-1]
        current.end = end
        self._finish_ready()
        return current.num_steps

    def deliver(self, rows: NDArray[np.float32]) -> None:
        while len(rows):
            current = self._open[0]
            num = min(len(rows), current.num_steps - current.num_written)
            self._writer.submit(self._shard.append, rows[:num])
            current.num_written += num
            rows = rows[num:]
            self._finish_ready()

    def _finish_ready(self) -> None:
        while (
            self._open
            and self._open[0].end
            and self._open[0].num_written == self._open[0].num_steps
        ):
            done = self._open.popleft()
            assert done.end is not None
            outcome = describe_outcome(done.clip, done.num_steps, done.end)
            if isinstance(outcome, Failure):
                self._writer.submit(self._shard.record_failure, outcome)
            else:
                self._writer.submit(self._shard.finish, outcome)


def describe_outcome(clip: Clip, num_steps: int, end: ClipEnd) -> ClipRecord | Failure:
    """What the store shall know of a clip that was read to its end."""
    if end.summary is None:
        return Failure(clip, end.reason, end.num_bytes)
    return ClipRecord(
        clip,
        num_steps=num_steps,
        num_frames=end.summary.num_decoded,
        fps=end.summary.fps,
        num_header_frames=end.summary.num_header,
        decoder=DECODER,
        problem=end.summary.problem or "",
        num_bytes=end.num_bytes,
        digest=end.digest,
    )
