"""Chunks of clips on their way between processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from typing import Any

import numpy as np
import pytest

from extract import chunks
from extract.chunks import ChunkReceiver, ChunkSender, open_channel
from pipeline.video import Chunk

# In one block, in exactly one, in two, and in more than the ring has.
SHAPES = [(1, 1, 1, 3), (2, 1, 2**21, 1), (2, 1, 2**21 + 1, 1), (1, 2**12, 2**13 + 3, 3)]


def make_chunk(shape: tuple[int, ...], seed: int) -> Chunk:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def send_all(sender: ChunkSender, exit_code: int) -> None:
    for seed, shape in enumerate(SHAPES * 2):
        sender.send(make_chunk(shape, seed), lambda: None)
        sender.send(f"chunk {seed} ended", lambda: None)
    os._exit(exit_code)


@contextmanager
def start_sending(
    work: Callable[..., None], *arguments: Any
) -> Iterator[tuple[ChunkReceiver, SpawnProcess]]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = open_channel(context)
    process = context.Process(target=work, args=(sender, *arguments))
    process.start()
    sender.close()
    try:
        yield receiver, process
    finally:
        receiver.close()
        process.join()


@pytest.mark.parametrize("exit_code", [0, 1])
def test_chunks_of_any_size_come_whole_and_in_order_until_the_sender_is_gone(
    exit_code: int,
) -> None:
    with start_sending(send_all, exit_code) as (receiver, _):
        held = []
        for seed, shape in enumerate(SHAPES * 2):
            held.append(receiver.receive())
            assert held[-1].shape == shape
            assert receiver.receive() == f"chunk {seed} ended"
        with pytest.raises(EOFError):
            receiver.receive()
    for seed, shape in enumerate(SHAPES * 2):
        np.testing.assert_array_equal(held[seed], make_chunk(shape, seed))


def send_until_waiting(sender: ChunkSender) -> None:
    def give_up() -> None:
        sender.send("waits", lambda: None)
        os._exit(0)

    block = np.zeros((1, 1, chunks._BLOCK_BYTES, 1), np.uint8)
    while True:
        sender.send(block, give_up)


def test_a_sender_that_is_ahead_waits() -> None:
    with start_sending(send_until_waiting) as (receiver, process):
        process.join()
        held = [receiver.receive() for _ in range(chunks._NUM_BLOCKS)]
        assert receiver.receive() == "waits"
    assert all(isinstance(chunk, np.ndarray) for chunk in held)


def test_the_decoding_processes_load_no_torch() -> None:
    code = "import sys, extract.__main__, extract.decode; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code]) == b"False\n"
