"""Videos to CNN features of their frames: `python -m extract --videos UCF101/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from extract.allocation import keep_freed_memory
from pipeline.clips import find_clips, is_clip_list
from pipeline.console import OK, SOME_FAILED, run_command

if TYPE_CHECKING:
    from extract.flow import Outcome

# What takes long to import is imported where it is called: --help and mistakes answer at once.
# ruff: noqa: PLC0415

_EXAMPLES = """\
examples:
  python -m extract --videos UCF101/
      features of every frame of every clip, in features/UCF101-googlenet
  python -m extract --videos UCF101/ --limit 20
      the first 20 clips, to try
  python -m extract --videos UCF101/ --backbone bvlc-googlenet --weights bvlc_googlenet.npz
      the GoogLeNet of 2014, from a file
  python -m extract --videos clips.csv
      the videos of a list: path,label and, if wanted, group and split
  python -m extract --videos my_clips/ --backbone timm/convnext_tiny --stride 5
      every fifth frame through a timm model
  python -m extract --inspect features/UCF101-googlenet
      what a store holds

Run the same command again after a stop of any kind: it goes on where it stopped. Several processes
may run it at the same time: each takes shards that no other has.
"""


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m extract",
        description="Decode videos and write the CNN features of their frames into HDF5.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    job = parser.add_mutually_exclusive_group(required=True)
    job.add_argument(
        "--videos",
        type=Path,
        metavar="DIR|CSV",
        help="videos in one folder per class, or a list path,label[,group][,split]",
    )
    job.add_argument("--inspect", type=Path, metavar="STORE", help="print what a store holds")
    add("--out", type=Path, metavar="DIR", help="default: features/<folder>-<backbone>")
    _add_encoder_options(parser)
    add(
        "--workers",
        type=_positive,
        default=None,
        metavar="N",
        help="decoding processes; default: a quarter of the cores, on a GPU all but one",
    )
    add("--limit", type=_positive, metavar="N", help="only the first N clips, to try")
    return parser


def _add_encoder_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--backbone",
        default="googlenet",
        metavar="NAME",
        help="googlenet (default), bvlc-googlenet, or timm/<name>",
    )
    add(
        "--weights",
        default="imagenet",
        metavar="WEIGHTS",
        help="imagenet (default; downloaded once), random, or a file",
    )
    add(
        "--features",
        choices=("pool", "logits"),
        default="pool",
        help="before the classifier (default), or its output",
    )
    add("--stride", type=_positive, default=1, metavar="N", help="take every N-th frame; default 1")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="arithmetic of the backbone; auto: bfloat16 where the processor has it",
    )
    add(
        "--batch-frames",
        type=_positive,
        default=None,
        metavar="N",
        help="frames encoded at a time; default 16 on a CPU, 128 on a GPU",
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


def extract(options: argparse.Namespace) -> int:
    """Do the extraction that the options ask for; the exit code."""
    from extract.flow import extract_features
    from extract.setup import estimate_steps, prepare_encoder

    found = find_clips(options.videos)
    # Of all clips, also with --limit: a trial is to be the beginning of the whole extraction.
    num_steps = estimate_steps(found.clips, found.folder, stride=options.stride)
    if options.limit:
        found = replace(found, clips=found.clips[: options.limit])
    out = options.out or default_out(options.videos, options.backbone)
    out.mkdir(parents=True, exist_ok=True)
    setup = prepare_encoder(
        options.backbone, out, weights=options.weights, features=options.features,
        stride=options.stride, device=options.device, dtype=options.dtype,
        batch_frames=options.batch_frames, num_workers=options.workers,
        num_steps=num_steps,
    )  # fmt: skip
    print(f"{len(found.clips)} clips of {options.videos} -> {out}: {setup.describe()}", flush=True)
    outcome = extract_features(
        found, found.folder, out, backbone=setup.backbone, spec=setup.spec,
        num_workers=setup.num_workers,
    )  # fmt: skip
    print(summarize(outcome, out, found.num_ignored))
    return OK if outcome.is_complete and not outcome.problems else SOME_FAILED


def default_out(videos: Path, backbone: str) -> Path:
    """features/<folder or list>-<backbone>."""
    name = videos.stem if is_clip_list(videos) else videos.resolve().name
    return Path("features") / f"{name}-{backbone.replace('/', '-')}"


def summarize(outcome: Outcome, out: Path, num_ignored: int) -> str:
    """The closing summary: what was done, how fast each stage was, and what is wrong."""
    from extract.flow import PROBLEMS

    tally = outcome.tally
    lines = []
    for name, changed in tally.redone.items():
        lines.append(f"{name} was done anew: {', '.join(changed)} changed since it was written.")
    if tally.num_clips:
        lines.append(
            f"{tally.num_clips} clips, {tally.num_steps} frames in {tally.wall_seconds:.1f} s: "
            f"{tally.num_steps / tally.wall_seconds:.0f} frames/s"
        )
        if tally.warm_up_seconds >= 1:
            lines.append(f"  {'compile':8s}{tally.warm_up_seconds:8.1f} s")
        for stage, num, seconds in (
            ("decode", tally.num_frames, tally.decode_seconds),
            ("compute", tally.num_steps, tally.encode_seconds),
            ("write", tally.num_steps, tally.write_seconds),
        ):
            rate = f"{num / seconds:8.0f} frames/s" if seconds else "-"
            lines.append(f"  {stage:8s}{seconds:8.1f} s {rate}")
        lines.append("  (seconds of work, summed over threads and processes; the stages overlap)")
    else:
        lines.append("Nothing was left to do.")
    if num_ignored:
        lines.append(f"{num_ignored} files without the ending of a video were passed over.")
    lines += [f"  {p.path}: {p.reason}" for p in outcome.problems[:10]]
    if outcome.problems:
        lines.append(f"{len(outcome.problems)} clips with problems, all in {out / PROBLEMS}")
    if tally.left_to_others:
        lines.append(f"Being written by another process: {', '.join(tally.left_to_others)}")
    state = "complete" if outcome.is_complete else "not complete: run the same command again"
    lines.append(f"{out}: {outcome.num_stored} clips, {state}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    options = make_parser().parse_args(arguments)
    if options.inspect:
        return run_command(lambda: _inspect(options.inspect), how_to_go_on="")
    keep_freed_memory()
    return run_command(
        lambda: extract(options),
        how_to_go_on="Run the same command again: it goes on where it stopped.",
    )


def _inspect(store: Path) -> int:
    from extract.inspect import describe_store

    print(describe_store(store))
    return OK


if __name__ == "__main__":
    sys.exit(main())
