"""Options that several verbs share, each with one meaning."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.devices import DEVICES, read_device

if TYPE_CHECKING:
    from eval.videos.videos import Classifier
    from pipeline.runs import Run

# What takes long is imported once the runs are found: --help and a wrong --run need no torch.
# ruff: noqa: PLC0415

RUNS_FOLDER = Path("runs")
_AUTO = "auto"
_NEWEST = f"default: the newest complete one below {RUNS_FOLDER}/"


def add_run(parser: ArgumentParser) -> None:
    """`--run`, one."""
    parser.add_argument(
        "--run", type=Path, metavar="FOLDER", help=f"a run folder or a zip of one; {_NEWEST}"
    )


def add_runs(parser: ArgumentParser) -> None:
    """`--run`, one or more."""
    parser.add_argument(
        "--run",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help=f"run folders or zips of them; {_NEWEST}",
    )


def add_features(parser: ArgumentParser) -> None:
    """`--features`."""
    parser.add_argument(
        "--features", metavar="DIR", help="a feature store in place of the one trained on"
    )


def add_device(parser: ArgumentParser) -> None:
    """`--device`."""
    parser.add_argument(
        "--device", type=read_device, default="auto", metavar="DEVICE",
        help=f"{', '.join(DEVICES)}; default: auto",
    )  # fmt: skip


def add_scoring(parser: ArgumentParser) -> None:
    """What every scoring of stored features takes."""
    add_features(parser)
    add_device(parser)
    parser.add_argument(
        "--batch-size", type=read_positive, default=256, metavar="N", help="default: 256"
    )


def add_classifier(parser: ArgumentParser) -> None:
    """What every reading of videos takes: the run and what encodes frames for it."""
    add_run(parser)
    add_weights(parser)
    add_features(parser)
    add_device(parser)
    parser.add_argument(
        "--threshold",
        type=read_threshold,
        default=_AUTO,
        metavar="auto|none|P",
        help="the probability that the likeliest label must reach, else the answer is none of "
        "these; default: auto, which 95 %% of the right validation clips reach",
    )


def read_threshold(text: str) -> float | str | None:
    """`auto`, None of `none`, or a probability, for `type=`."""
    if text in (_AUTO, "none"):
        return text if text == _AUTO else None
    try:
        threshold = float(text)
    except ValueError:
        threshold = float("nan")
    if not 0 <= threshold <= 1:
        raise argparse.ArgumentTypeError(
            f"expected auto, none, or a probability from 0 to 1, found {text!r}"
        )
    return threshold


def add_weights(parser: ArgumentParser) -> None:
    """`--weights`."""
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="the encoder's weights, if their file is no longer where it was at the extraction",
    )


def add_out(parser: ArgumentParser, default: str) -> None:
    """`--out`."""
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default: {default}")


def read_positive(text: str) -> int:
    """A number of at least 1, for `type=`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


def choose_runs(paths: Sequence[Path] | None) -> list[Path]:
    """The runs that were named, or the newest complete one.

    Of several paths, as `runs/*` gives, those that are no run are said and passed over; one that is
    named alone must be a run. Raises ValueError if none is left, and for one that is damaged.
    """
    from pipeline.runs import is_archive, is_run, load_run

    if not paths:
        return [_choose_latest()]
    if len(paths) == 1:
        load_run(paths[0])
        return [*paths]
    chosen = [path for path in paths if is_run(path) or is_archive(path)]
    for path in paths:
        if path not in chosen:
            say(f"{path} is no run, and was passed over{_find_below(path)}.")
    if not chosen:
        raise ValueError(f"--run: expected run folders, found none among {len(paths)} paths.")
    return chosen


def check_out(runs: Sequence[Path], out: Path | None) -> None:
    """ValueError for a zip among the runs where results would go into the run's own folder."""
    from pipeline.runs import is_archive

    zips = [path for path in runs if is_archive(path)]
    if zips and out is None:
        raise ValueError(
            f"--run: found {zips[0]}, a zip, into which no results are written.\n"
            f"Say where they go with --out DIR, or unpack it and pass the folder."
        )


def _find_below(path: Path) -> str:
    """How runs below a folder are given, or ""."""
    from pipeline.runs import find_runs

    has_runs = path.is_dir() and find_runs(path)
    return f"; for those below it give {path}/*" if has_runs else ""


def load_asked_run(options: argparse.Namespace) -> Run:
    """The run that was named, or the newest complete one."""
    from pipeline.runs import load_run

    return load_run(options.run or _choose_latest())


def load_asked(options: argparse.Namespace, run: Run) -> Classifier:
    """The classifier that the options of `add_classifier` ask for; it is said what it rests on."""
    from eval.videos.videos import load_classifier

    classifier = load_classifier(
        run,
        weights=options.weights,
        features=options.features,
        device=options.device,
        threshold=options.threshold,
    )
    say(classifier.about)
    return classifier


def say(line: str) -> None:
    """Tell the user on standard error; answers go to standard output."""
    print(line, file=sys.stderr)


def _choose_latest() -> Path:
    """The newest complete run; the newer ones that are not complete are said."""
    from pipeline.runs import WEIGHTS, find_runs

    newer: list[Path] = []
    for folder in find_runs(RUNS_FOLDER):
        if (folder / WEIGHTS).is_file():
            for path in newer:
                say(f"{path} is newer, but not complete.")
            say(f"The newest complete run is {folder}.")
            return folder
        newer.append(folder)
    raise ValueError(
        f"{RUNS_FOLDER}/: expected a complete run, found "
        + (f"{len(newer)} that are not, such as {newer[0]}" if newer else "no run")
        + ".\nMake one: python -m train model=np-rnn"
    )
