"""Extractions of three hosts in one store, of which one is killed: is it the store of one process?

In each round three processes, each of a host of its own by name, do a part each, or in every other
round all of it beside each other. One is killed (SIGKILL) at a random moment. Then three of new
hosts run, which cannot see that the killed one is gone, until all is done; and it is finished.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from extract import plan
from extract.finish import finish_store
from extract.flow import extract_features
from extract.holders import identify
from extract.leases import Leases
from extract.outcome import Outcome
from extract.parts import Part
from pipeline.backbones import Backbone
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.clips import find_clips
from pipeline.features import FeatureSpec
from pipeline.video import write_video

_NUM_PARTS = 3
_MOST_RUNS = 5
_CLIPS_PER_SHARD = 4
_BEAT_SECONDS, _PATIENCE_SECONDS = 0.1, 2.0
_DIM = 16
# Forked from a process that has imported torch, and has not computed with it.
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Round:
    """What one round saw; `num_held` leases and files were left by the killed process."""

    was_killed: bool
    num_held: int
    num_runs: int
    is_equal: bool


class _TinyNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, _DIM, 7, stride=4), nn.ReLU())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.layers(images).mean(dim=(2, 3))
        return features


def _make_backbone() -> Backbone:
    steps = Preprocessing("squash", (48, 64), (48, 64), "bilinear", (0.0,) * 3, (1.0,) * 3)
    return Backbone("tiny", _TinyNet().eval(), _DIM, "", "", steps, batch_frames=16)


def write_clips(folder: Path, num: int) -> Path:
    """Clips of noise, in two classes."""
    generator = np.random.default_rng(0)
    for place in range(num):
        path = folder / ("draw", "pull")[place % 2] / f"v_g{place:03d}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (int(generator.integers(10, 60)), 48, 64, 3)
        write_video(path, list(generator.integers(0, 256, shape).astype(np.uint8)))
    return folder


def _extract(videos: Path, out: Path, part: Part | None, host: str) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    plan.CLIPS_PER_SHARD = _CLIPS_PER_SHARD
    torch.set_num_threads(1)
    holder = replace(identify(), host=host, system=host)
    leases = Leases(holder, beat_seconds=_BEAT_SECONDS, patience_seconds=_PATIENCE_SECONDS)
    outcome = extract_features(
        find_clips(videos), videos, out, backbone=_make_backbone(),
        spec=FeatureSpec(backbone="tiny", dim=_DIM), num_workers=1, part=part, leases=leases,
    )  # fmt: skip
    sys.exit(0 if outcome.is_complete else 1)


def _start(videos: Path, out: Path, parts: Sequence[Part | None], hosts: str) -> list[Any]:
    processes = [
        _CONTEXT.Process(target=_extract, args=(videos, out, part, f"{hosts}-{place}"))
        for place, part in enumerate(parts)
    ]
    for process in processes:
        process.start()
    return processes


def _wait(processes: Sequence[Any]) -> list[int]:
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def read_files(store: Path) -> dict[str, bytes]:
    """The bytes of a store's files, but for what is held and unfinished."""
    return {
        path.name: path.read_bytes()
        for path in store.iterdir()
        if path.suffix not in (".lock", ".part")
    }


def try_round(
    videos: Path, out: Path, whole: dict[str, bytes], *, is_in_parts: bool, kill: tuple[int, float]
) -> Round:
    """Kill the `kill[0]`-th of three processes after `kill[1]` seconds, and go on until the end."""
    parts = [Part(n, _NUM_PARTS) if is_in_parts else None for n in range(1, _NUM_PARTS + 1)]
    victim, seconds = kill
    processes = _start(videos, out, parts, "first")
    time.sleep(seconds)
    processes[victim].kill()
    was_killed = _wait(processes)[victim] == -signal.SIGKILL
    num_held = len([*out.glob("*.lock"), *out.glob("*.part")]) if out.exists() else 0
    num_runs = 0
    exits = [1]
    while any(exits) and num_runs < _MOST_RUNS:
        num_runs += 1
        exits = _wait(_start(videos, out, parts, f"again-{num_runs}"))
    plan.CLIPS_PER_SHARD = _CLIPS_PER_SHARD
    finished = finish_store(find_clips(videos), out)
    is_equal = isinstance(finished, Outcome) and read_files(out) == whole
    return Round(was_killed, num_held, num_runs, is_equal)


def main() -> int:
    """1 where a store differed from that of one process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="draws who is killed, and when")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="default: 96 generated clips")
    options = parser.parse_args()
    _CONTEXT.set_forkserver_preload(["extract.flow"])
    generator = random.Random(options.seed)
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        videos = options.videos or write_clips(Path(name) / "videos", 96)
        start = time.perf_counter()
        _wait(_start(videos, Path(name) / "whole", [None], "one"))
        seconds = time.perf_counter() - start
        whole = read_files(Path(name) / "whole")
        print(f"one process: {len(whole)} files in {seconds:.1f} s", flush=True)
        for place in range(options.rounds):
            kill = generator.randrange(_NUM_PARTS), generator.uniform(0, seconds)
            out = Path(name) / f"store-{place}"
            done = try_round(videos, out, whole, is_in_parts=place % 2 == 0, kill=kill)
            rounds.append(done)
            print(f"round {place}: killed after {kill[1]:.2f} s: {done}", flush=True)
    num_killed = sum(done.was_killed for done in rounds)
    num_held = sum(done.num_held > 0 for done in rounds)
    num_equal = sum(done.is_equal for done in rounds)
    print(
        f"{len(rounds)} rounds, {num_killed} with a kill, {num_held} with something left in hand, "
        f"{num_equal} stores with the bytes of one process's"
    )
    return 0 if num_equal == len(rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
