"""Where the time of an answer goes: `python -m benchmarks.answers [--quick]`.

A video of 10 seconds, 1920x1080 at 25 frames/s in H.264, and one of 320x240, through `predict`,
`serve` (a camera's frame, from the request's bytes to the answer's) and `watch` (at the video's own
clock), on one core and one thread. Every stage stands beside its own limit, measured by turns with
it: bare decoding, the bare net on ready batches, the bare product of the recurrent step. Processor
time, of all threads: other programs disturb it little. What was dropped live is by the clock, and
so tells of what else the core had to do, too.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.answers.setting import FPS, Setting, list_dtypes, make_setting, write_h264
from benchmarks.answers.stages import (
    best,
    time_decoding,
    time_loading,
    time_predict,
    time_serve,
    time_small_stages,
    time_stages,
    time_starts,
    time_watch,
)
from benchmarks.report import Comparison, describe_machine, find_data, make_parser, write_report
from pipeline.allocation import keep_freed_memory

_SIZES = {"short": (240, 320), "1080p": (1080, 1920), "240p": (240, 320)}
_SHORT_FRAMES = 16


def measure(
    setting: Setting, videos: dict[str, Path], options: argparse.Namespace, more: dict[str, Any]
) -> list[Comparison]:
    """All stages of one arithmetic; reports of live streams go into a copy of `more`."""
    rounds, num_frames = options.rounds, options.frames
    short, large, small = videos.values()
    found = [*time_starts(setting, short, rounds=rounds), *time_loading(setting, rounds=rounds)]
    decoding = [
        time_decoding(video, num_frames=num_frames, rounds=rounds) for video in (large, small)
    ]
    stages = {
        batch: time_stages(setting, large, num_frames=num_frames, batch=batch, rounds=rounds)
        for batch in (16, 1)
    }
    few = time_small_stages(setting, small, rounds=rounds)
    limit = best(decoding[0]) + best(stages[16][0]) + best(few[1])
    found += [*decoding, *stages[16], *stages[1], *few]
    found.append(time_predict(setting, large, limit, num_frames=num_frames, rounds=rounds))
    found += time_serve(setting, num_frames=min(25, num_frames), rounds=rounds)
    limits = [best(each) + best(stages[1][0]) + best(few[1]) for each in decoding]
    for comparison, report in time_watch(setting, [large, small], limits):
        found.append(comparison)
        more[comparison.what] = str(report)
    return found


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of bvlc-googlenet")
    parser.add_argument("--dtype", nargs="+", metavar="NAME", help="default: all that are here")
    options = parser.parse_args()
    options.rounds = 1 if options.quick else options.rounds
    options.frames, shrink = (4, 10) if options.quick else (10 * FPS, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    keep_freed_memory()  # as `python -m eval` does
    machine = describe_machine()
    trained = (find_data() or Path()) / "weights" / "bvlc_googlenet.npz"
    weights = options.weights or (trained if trained.is_file() else None)
    comparisons: list[Comparison] = []
    more: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = {
            label: write_h264(
                folder / f"{label}.mp4",
                height=height // shrink,
                width=width // shrink,
                num_frames=min(options.frames, _SHORT_FRAMES if label == "short" else 10 * FPS),
            )
            for label, (height, width) in _SIZES.items()
        }
        for dtype in options.dtype or (list_dtypes()[:1] if options.quick else list_dtypes()):
            setting = make_setting(dtype, folder, video=videos["1080p"], weights=weights)
            comparisons += measure(setting, videos, options, more)
    write_report("answers", comparisons, options, machine=machine, more=more)


if __name__ == "__main__":
    main()
