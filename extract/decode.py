"""Worker processes that decode clips in chunks, in the order they are asked for."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from extract.chunks import ChunkReceiver, ChunkSender, open_channel
from extract.plan import measure_bytes
from pipeline.files import digest_file, name_special
from pipeline.video import Chunk, DecodeSummary, VideoError, read_frames

_CHUNK_FRAMES = 16
_HANG_SECONDS = 300.0
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class ClipEnd:
    """The last word on a clip: what was decoded, or why nothing was."""

    summary: DecodeSummary | None
    reason: str
    num_bytes: int
    digest: str
    seconds: float


Message = Chunk | ClipEnd


@dataclass(frozen=True)
class _Ready:
    """A worker's first word: it runs, and what ends it from now on is a clip."""


class _WorkerLostError(Exception):
    """The worker died or hung on a clip; the message says how."""


def decode_clip(path: Path, stride: int) -> Iterator[Message]:
    """Chunks (N, H, W, 3) uint8 of every stride-th frame, then a ClipEnd, whatever happens."""
    start = time.perf_counter()
    waited = 0.0
    num_bytes, digest = -1, ""
    summary, reason = None, ""
    try:
        if kind := name_special(path):
            raise VideoError(f"it is {kind}, no regular file")
        num_bytes = measure_bytes(path)
        digest = digest_file(path)
        frames = read_frames(path, stride=stride, chunk_frames=_CHUNK_FRAMES)
        for chunk in frames:
            before = time.perf_counter()
            yield chunk
            waited += time.perf_counter() - before
        summary = frames.summary
    except VideoError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    yield ClipEnd(summary, reason, num_bytes, digest, time.perf_counter() - start - waited)


class DecodePool:
    """Decodes clips ahead in `num_workers` processes; `messages` gives them in the order asked.

    A worker that dies or hangs on a clip costs only that clip: another takes its place.
    """

    def __init__(self, num_workers: int, *, stride: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._stride = stride
        self._workers = [self._start_worker() for _ in range(num_workers)]
        self._asked: deque[tuple[int, Path]] = deque()
        self._num_asked = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.stop()

    def _start_worker(self) -> _Worker:
        tasks: Any = self._context.Queue()
        receiver, sender = open_channel(self._context)
        process = self._context.Process(
            target=_work, args=(tasks, sender, self._stride, os.getpid()), daemon=True
        )
        process.start()
        # Only the worker holds the sending end now, so that its death ends the pipe, also in the
        # middle of a chunk; a queue would wait for the rest.
        sender.close()
        return _Worker(process, tasks, receiver)

    def ask(self, path: Path) -> None:
        """Have this clip decoded after those asked for before."""
        place = self._num_asked % len(self._workers)
        self._workers[place].tasks.put(path)
        self._asked.append((place, path))
        self._num_asked += 1

    @property
    def num_waiting(self) -> int:
        """Clips asked for whose chunks were not yet taken."""
        return len(self._asked)

    def messages(self) -> Iterator[Message]:
        """The chunks of the next clip asked for, then its ClipEnd."""
        place, path = self._asked.popleft()
        while True:
            try:
                message = self._wait_for_message(place)
            except _WorkerLostError as error:
                self._replace_worker(place)
                message = ClipEnd(None, str(error), measure_bytes(path), "", 0.0)
            yield message
            if isinstance(message, ClipEnd):
                return

    def _wait_for_message(self, place: int) -> Message:
        worker = self._workers[place]
        if not worker.receiver.poll(_HANG_SECONDS):
            raise _WorkerLostError(f"no frame came for {_HANG_SECONDS:.0f} seconds")
        try:
            message: Message | _Ready = worker.receiver.receive()
        except (EOFError, OSError):
            worker.process.join()
            if not worker.is_ready:
                raise ChildProcessError(
                    f"A decoding process ended before its first clip "
                    f"(exit code {worker.process.exitcode}); what it printed stands above"
                ) from None
            raise _WorkerLostError(_crash_reason(worker.process.exitcode)) from None
        if isinstance(message, _Ready):
            worker.is_ready = True
            return self._wait_for_message(place)
        return message

    def _replace_worker(self, place: int) -> None:
        self._workers[place].stop()
        self._workers[place] = self._start_worker()
        for other, path in self._asked:
            if other == place:
                self._workers[place].tasks.put(path)


@dataclass
class _Worker:
    process: Any
    tasks: Any
    receiver: ChunkReceiver
    is_ready: bool = False

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.receiver.close()
        self.tasks.close()


def _crash_reason(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"the decoder crashed on it ({signal.Signals(-exit_code).name})"
    return f"the decoder ended on it (exit code {exit_code})"


def _work(tasks: Any, sender: ChunkSender, stride: int, parent: int) -> None:
    """Decode the clips of `tasks` until the parent is gone: a killed parent leaves no orphan."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        if os.getppid() != parent:
            os._exit(1)

    sender.send(_Ready(), end_with_parent)
    while True:
        path = None
        while path is None:
            with suppress(queue.Empty):
                path = tasks.get(timeout=_POLL_SECONDS)
            end_with_parent()
        for message in decode_clip(path, stride):
            sender.send(message, end_with_parent)
