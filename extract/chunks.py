"""Chunks of clips on their way from a decoding process, through shared memory of a fixed size.

A ring of blocks: a chunk lies in as many blocks in a row as it needs, each is announced on a pipe,
copied out, and free again. So a clip of large frames is not further ahead in bytes than one of
small ones, and no page is touched for the first time but in the first round.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.memory import RecycledMemory
from pipeline.video import Chunk

_BLOCK_BYTES = 4 * 2**20
_NUM_BLOCKS = 16
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class _Block:
    """Announces the bytes from `start` on of a chunk of this shape, as many as a block holds."""

    shape: tuple[int, ...]
    start: int


class ChunkSender:
    """The decoding process's end: it is pickled on its way there."""

    def __init__(self, connection: Connection, places: Any, descriptor: int) -> None:
        self._connection = connection
        self._places = places
        self._descriptor = descriptor

    def __getstate__(self) -> tuple[Any, ...]:
        return self._connection, self._places, DupFd(self._descriptor)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._connection, self._places, file = state
        self._descriptor = file.detach()
        self._ring = _Ring(self._descriptor)

    def send(self, message: Any, while_waiting: Callable[[], None]) -> None:
        """Send a chunk or any other message; `while_waiting` is called every second of a wait."""
        if not isinstance(message, np.ndarray):
            self._connection.send(message)
            return
        content = np.ascontiguousarray(message).reshape(-1)
        for start in range(0, len(content), _BLOCK_BYTES):
            while not self._places.acquire(timeout=_POLL_SECONDS):
                while_waiting()
            span = content[start : start + _BLOCK_BYTES]
            self._ring.next_block()[: len(span)] = span
            self._connection.send(_Block(message.shape, start))

    def close(self) -> None:
        """Let go of this process's copy of the end, so that the pipe ends with the other's."""
        self._connection.close()
        os.close(self._descriptor)


class ChunkReceiver:
    """This process's end. A chunk is a copy, in memory that is used again when it is gone."""

    def __init__(self, connection: Connection, places: Any, ring: _Ring) -> None:
        self._connection = connection
        self._places = places
        self._ring = ring
        self._memory = RecycledMemory()

    def poll(self, seconds: float) -> bool:
        """Whether something came, or the other end is closed, within this time."""
        return self._connection.poll(seconds)

    def receive(self) -> Any:
        """The next chunk or message. EOFError or OSError when the other process is gone."""
        message = self._connection.recv()
        if not isinstance(message, _Block):
            return message
        chunk: Chunk = self._memory.empty(message.shape, np.uint8)
        content = chunk.reshape(-1)
        while True:
            span = content[message.start : message.start + _BLOCK_BYTES]
            span[:] = self._ring.next_block()[: len(span)]
            self._places.release()
            if message.start + len(span) == len(content):
                return chunk
            message = self._connection.recv()

    def close(self) -> None:
        """Close the pipe: the other process finds nobody there."""
        self._connection.close()


class _Ring:
    """The blocks of a shared file, in turn."""

    def __init__(self, descriptor: int) -> None:
        content = mmap.mmap(descriptor, _NUM_BLOCKS * _BLOCK_BYTES)
        self._blocks = np.frombuffer(content, np.uint8).reshape(_NUM_BLOCKS, _BLOCK_BYTES)
        self._next = 0

    def next_block(self) -> NDArray[np.uint8]:
        block: NDArray[np.uint8] = self._blocks[self._next]
        self._next = (self._next + 1) % _NUM_BLOCKS
        return block


def open_channel(context: SpawnContext) -> tuple[ChunkReceiver, ChunkSender]:
    """A channel to this process from one that `context` will start."""
    reading, writing = context.Pipe(duplex=False)
    places = context.Semaphore(_NUM_BLOCKS)
    descriptor = _open_shared_file()
    os.ftruncate(descriptor, _NUM_BLOCKS * _BLOCK_BYTES)
    return (
        ChunkReceiver(reading, places, _Ring(descriptor)),
        ChunkSender(writing, places, descriptor),
    )


def _open_shared_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("chunks")  # not in /dev/shm: a container's has 64 MiB
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
