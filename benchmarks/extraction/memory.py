"""The memory of an extraction, and its time, without a net."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from benchmarks.extraction.flow import Job, find_videos, time_flow
from pipeline.backbones import Backbone
from pipeline.backbones.preprocessing import Preprocessing

_POLL_SECONDS = 0.1


class MeanColour(nn.Module):
    """A backbone that costs nothing: what is left is the flow."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


def measure_memory(num_clips: int) -> dict[str, float]:
    """Peak memory of this process and of its largest worker, in MiB, and milliseconds a frame."""
    with tempfile.TemporaryDirectory() as folder, _watch_workers() as peaks:
        found = find_videos(Path(folder), 10**6)
        found = replace(found, clips=found.clips[:num_clips])
        steps = Preprocessing("squash", (224, 224), (224, 224), "bilinear", (0.0,) * 3, (1.0,) * 3)
        backbone = Backbone("mean colour", MeanColour(), 3, "", "", steps)
        tally = time_flow(Job(found, backbone, "float32"))
    return {
        "clips": tally.num_clips, "frames": tally.num_steps,
        "main_mib": _peak_mib(os.getpid()), "worker_mib": max(peaks),
        "milliseconds_a_frame": round(1e3 * tally.wall_seconds / tally.num_steps, 3),
    }  # fmt: skip


@contextmanager
def _watch_workers() -> Iterator[list[int]]:
    """The peaks of the processes that this one starts, in MiB, as they grow."""
    peaks: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_POLL_SECONDS):
            peaks.extend(_peak_mib(worker.pid) for worker in multiprocessing.active_children())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        is_over.set()
        thread.join()


def _peak_mib(pid: int | None) -> int:
    """0 of a process that ends. `ru_maxrss` would begin with the parent's."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


def measure_memory_apart(num_clips: int) -> dict[str, float]:
    """`measure_memory` in a process of its own, whose peak is then of that extraction."""
    command = [sys.executable, "-m", "benchmarks.extraction", "--memory-of", str(num_clips)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found
