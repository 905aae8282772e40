"""Frames to features, in batches of one size that run across clips."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.backbones import Backbone
from pipeline.video import Chunk

Rows = NDArray[np.float32]  # (N, D)

# On a GPU a batch is copied there while another one is computed.
_GPU_THREADS = 2


class BatchEncoder:
    """Collects the frames of a shard's clips into full batches and encodes several at a time.

    On a CPU each of torch's threads takes a batch of its own: threads that share one wait for each
    other at every layer, nearly all the time where other programs run, and a frame's features would
    differ in their last bits with their number. Inside the block torch has one thread elsewhere.
    Whatever the batch, a frame's features depend on that frame alone (`Backbone.encode_crops`).
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._is_on_cpu = backbone.device == "cpu"
        self._is_on_cuda = torch.device(backbone.device).type == "cuda"
        self._torch_threads = torch.get_num_threads()
        self._num_threads = self._torch_threads if self._is_on_cpu else _GPU_THREADS
        self._waiting: list[Tensor] = []  # less than a batch
        self._running: deque[Future[tuple[Rows, float]]] = deque()
        self.seconds = 0.0
        """Seconds spent preprocessing and encoding, summed over the threads."""
        self.warm_up_seconds = 0.0

    def __enter__(self) -> Self:
        if self._is_on_cpu:
            torch.set_num_threads(1)
        self._executor = ThreadPoolExecutor(
            self._num_threads,
            thread_name_prefix="encode",
            initializer=partial(_take_own_stream, self._backbone.device)
            if self._is_on_cuda
            else None,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._executor.shutdown(cancel_futures=True)
        torch.set_num_threads(self._torch_threads)

    def warm_up(self) -> None:
        """Encode one black frame, so that a backbone is compiled before its threads begin."""
        start = time.perf_counter()
        size = self._backbone.steps.size
        black = torch.zeros(1, 3, *size, dtype=torch.uint8, device=self._backbone.device)
        self._backbone.encode_crops(black)
        self.warm_up_seconds += time.perf_counter() - start

    def add(self, frames: Chunk) -> Iterator[Rows]:
        """Take frames (N, H, W, 3) uint8; gives the features of batches that are ready, in order.

        Waits where more batches are on their way than the threads need to have work.
        """
        batches, self._waiting = cut_batches(
            [*self._waiting, torch.from_numpy(frames)], self._backbone.batch_frames
        )
        for batch in batches:
            self._start(batch)
        yield from self._collect(num_left=2 * self._num_threads)

    def flush(self) -> Iterator[Rows]:
        """The features of all frames that were not given yet."""
        if self._waiting:
            self._start(self._waiting)
            self._waiting = []
        yield from self._collect(num_left=0)

    def _start(self, batch: Sequence[Tensor]) -> None:
        self._running.append(self._executor.submit(self._encode, batch))

    def _collect(self, *, num_left: int) -> Iterator[Rows]:
        while self._running and (len(self._running) > num_left or self._running[0].done()):
            rows, seconds = self._running.popleft().result()
            self.seconds += seconds
            yield rows

    def _encode(self, batch: Sequence[Tensor]) -> tuple[Rows, float]:
        start = time.perf_counter()
        if self._is_on_cuda:
            batch = [frames.pin_memory() for frames in batch]
        crops = torch.cat([self._backbone.crop(frames) for frames in batch])
        rows: Rows = self._backbone.encode_crops(crops).cpu().numpy()
        return rows, time.perf_counter() - start


def cut_batches(chunks: Sequence[Tensor], size: int) -> tuple[list[list[Tensor]], list[Tensor]]:
    """Batches of `size` frames, each as views of the chunks it comes from, and what is left over.

    Chunks may differ in height and width.
    """
    batches: list[list[Tensor]] = []
    batch: list[Tensor] = []
    lacking = size
    for chunk in chunks:
        for frames in (chunk[:lacking], *torch.split(chunk[lacking:], size)):
            batch += [frames] if len(frames) else []
            lacking -= len(frames)
            if not lacking:
                batches.append(batch)
                batch, lacking = [], size
    return batches, batch


def _take_own_stream(device: str) -> None:
    torch.cuda.set_stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
