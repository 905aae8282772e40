"""Videos to an accuracy table in one command: `python -m demo`. The roof over the stages."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demo.clips import ALL_GROUPS, PAIRS, ClipsSpec, write_clips
from pipeline.clips import is_clip_list
from pipeline.console import OK, SOME_FAILED, run_command

# The stages are imported where they are called: --help and wrong options need no torch.
# ruff: noqa: PLC0415

NETS = ("np-rnn", "irnn", "scaled-irnn", "lstm", "mean-pool")
SPLIT = "groups-split1"
_QUICK = ClipsSpec(groups=(1, 2, 8, 9, 10, 25), clips_per_group=1, num_frames=8)
# Chosen on the clips of seed 1; the paper's schedule is for a set fifty times as large.
_TRAINING = (
    "trainer.batch_size=16",
    "optimizer.lr=2e-4",
    "optimizer.clip=1",
    "model.dropout=0.1",
)
_PHASE_EPOCHS, _QUICK_PHASE_EPOCHS = [60, 25, 15], [2, 1, 1]
_EXAMPLES = """examples:
  python -m demo                          generated clips, GoogLeNet with random weights
  python -m demo --backbone bvlc-googlenet --weights bvlc_googlenet.npz --out demo-trained
                                          the same clips through a trained net
  python -m demo --videos my_clips/ --weights imagenet --out my_demo
                                          your own videos, in one folder per class, or a list
                                          of them, my_clips.csv

Nothing is downloaded, except with --weights imagenet. Run the same command again after a stop of
any kind: it goes on where it stopped."""


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="Generate clips, extract features, train nets and compare them: all stages.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="default: demo-output[/quick]")
    add("--seed", type=int, default=0, metavar="N", help="of clips and training; default 0")
    add("--nets", nargs="+", metavar="NET", help=f"default: {' '.join(NETS)}")
    add("--videos", type=Path, metavar="DIR|CSV", help="your own videos, as extract takes them")
    add("--split", metavar="SPLIT", help=f"default: {SPLIT}, or draw with --videos")
    add("--backbone", default="googlenet", metavar="NAME", help="as in extract; default googlenet")
    add("--weights", default="random", metavar="WEIGHTS", help="random (default), imagenet, a file")
    add("--stride", type=int, default=2, metavar="N", help="take every N-th frame; default 2")
    add("--quick", action="store_true", help="few short clips, one net, hardly trained: to try")
    return parser


class _Clock:
    """Prints what is done next, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def say(self, line: str) -> None:
        print(f"[{time.perf_counter() - self._start:5.1f} s] {line}", flush=True)


def run_stages(options: argparse.Namespace) -> int:
    """Do all that the options ask for; the exit code of the worst stage."""
    clock = _Clock()
    out = options.out or Path("demo-output/quick" if options.quick else "demo-output")
    videos = options.videos or out / "videos"
    store = out / "features" / _name_store(videos, options)
    configs = [_compose(net, store, out, options) for net in _choose_nets(options)]
    if options.videos is None:
        _generate(videos, options, clock)
    clock.say(f"extracting features into {store}")
    extracted = _extract(videos, store, options)
    if extracted not in (OK, SOME_FAILED):
        return extracted
    runs = []
    for place, config in enumerate(configs, start=1):
        clock.say(f"training {config['model']['name']}, {place} of {len(configs)}")
        runs.append(_train(config))
    clock.say(f"evaluating {len(runs)} runs on the test part")
    report = out / "report"
    evaluated = _evaluate(runs, report, options, videos)
    if evaluated not in (OK, SOME_FAILED):
        return evaluated
    if options.videos is None:
        print(f"\n{describe_pairs(report)}\n")
    clock.say(f"done. The report is {report / 'report.html'}")
    return max(extracted, evaluated)


def _name_store(videos: Path, options: argparse.Namespace) -> str:
    name = videos.stem if is_clip_list(videos) else videos.resolve().name
    return f"{name}-{options.backbone}-{Path(options.weights).stem}".replace("/", "-")


def _choose_nets(options: argparse.Namespace) -> Sequence[str]:
    nets: Sequence[str] = options.nets or (NETS[:1] if options.quick else NETS)
    return tuple(dict.fromkeys(nets))


def _compose(net: str, store: Path, out: Path, options: argparse.Namespace) -> Mapping[str, Any]:
    from train.config import compose_config, quote

    phase_epochs = _QUICK_PHASE_EPOCHS if options.quick else _PHASE_EPOCHS
    return compose_config(
        [
            f"model={net}",
            f"features={quote(store)}",
            f"out={quote(out / 'runs')}",
            f"split={quote(options.split or ('draw' if options.videos else SPLIT))}",
            f"seed={options.seed}",
            f"schedule.phase_epochs={phase_epochs}",
            *_TRAINING,
        ]
    )


def _generate(videos: Path, options: argparse.Namespace, clock: _Clock) -> None:
    base = _QUICK if options.quick else ClipsSpec(groups=ALL_GROUPS)
    spec = ClipsSpec(options.seed, base.groups, base.clips_per_group, base.num_frames)
    clock.say(f"drawing clips into {videos}")
    num = write_clips(videos, spec)
    clock.say(f"{num} clips written" if num else "all clips were there")


def _extract(videos: Path, store: Path, options: argparse.Namespace) -> int:
    from extract.__main__ import main as extract

    if options.weights == "random":
        print("  The weights are random: the frames' features were never trained on any image.")
    return extract(
        [
            f"--videos={videos}",
            f"--out={store}",
            f"--backbone={options.backbone}",
            f"--weights={options.weights}",
            f"--stride={options.stride}",
        ]
    )


def _train(config: Mapping[str, Any]) -> Path:
    from train.fit import train_run

    return train_run(config)


def _evaluate(runs: Sequence[Path], report: Path, options: argparse.Namespace, videos: Path) -> int:
    from eval.__main__ import main as evaluate

    pairs = [] if options.videos is not None else ["--pairs", *("/".join(pair) for pair in PAIRS)]
    return evaluate(["--run", *map(str, runs), f"--out={report}", f"--videos={videos}", *pairs])


def describe_pairs(report: Path) -> str:
    """What the pair accuracies of the report show."""
    rows = json.loads((report / "report.json").read_text())["rows"]
    low_of = {row["name"]: row["pairs"]["low"] for row in rows if "pairs" in row}
    seen = [name for name, low in low_of.items() if low > 0.5]
    unseen = [name for name in low_of if name not in seen]
    pairs = " and ".join("/".join(pair) for pair in PAIRS)
    return (
        f"{pairs} differ only by the order of time, which mean-pool cannot see.\n"
        f"Told apart better than by chance (the whole interval above 0.5): {_join(seen)}; "
        f"not so: {_join(unseen)}."
    )


def _join(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    return run_command(
        lambda: run_stages(make_parser().parse_args(arguments)),
        how_to_go_on="Run the same command again: it goes on where it stopped.",
    )


if __name__ == "__main__":
    sys.exit(main())
