"""From runs to scores: `python -m eval`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.commands import export as shipping
from eval.commands import videos as own_videos
from eval.dynamics.dynamics import compute_dynamics
from eval.dynamics.page import format_dynamics, write_dynamics
from eval.report.evaluate import (
    PARTS,
    Evaluation,
    choose_latest,
    evaluate_predictions,
    evaluate_runs,
)
from eval.study.page import write_study
from eval.study.study import OUT, study_runs
from eval.study.table import format_study
from pipeline.console import OK, SOME_FAILED, run_command
from pipeline.devices import DEVICES
from pipeline.runs import load_run

RUNS_FOLDER = Path("runs")
_EXAMPLES = """examples:
  python -m eval                                   the newest run below runs/
  python -m eval --run runs/a --videos UCF101/     one run, with frames of its worst clips
  python -m eval --run runs/a --part val           on the validation part
  python -m eval --run runs/np-rnn-* runs/lstm-*   one table; seeds of one config are joined
  python -m eval --predictions runs/*/eval/test/predictions.csv --out reports/again
                                                   from files, without a net or features

  python -m eval --study multirun/2026-01-31       each net's best setting by validation, tested
  python -m eval --run runs/a --dynamics           spectrum, gradients, states: start and end

Each run's answers go to <run>/eval/<part>/predictions.csv, one row a clip.
exit code: 0; 1 if a run had no score (incomplete or diverged); 2 if nothing could be done.
Clips that are missing are said beside the score and do not change the exit code."""


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Scores of runs on clips they were not trained on, and a report page.",
        epilog=_EXAMPLES.replace(
            "\n\nEach run", f"\n{own_videos.EXAMPLES}\n{shipping.EXAMPLES}\n\nEach run", 1
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", nargs="+", type=Path, metavar="FOLDER", help="run folders")
    source.add_argument(
        "--latest", action="store_true", help="the newest run below runs/ (default)"
    )
    source.add_argument(
        "--predictions", nargs="+", type=Path, metavar="FILE", help="files of predictions instead"
    )
    source.add_argument(
        "--study",
        type=Path,
        metavar="FOLDER",
        help="all runs below a folder: each net's best setting by validation is tested",
    )
    parser.add_argument(
        "--dynamics", action="store_true", help="the net's dynamics instead of its scores"
    )
    parser.add_argument("--part", choices=PARTS, help="default: test")
    parser.add_argument(
        "--features", metavar="DIR", help="a feature store in place of the one trained on"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the report goes; default: <run>/eval/<part>/, or reports/<name>/ for several, "
        "or <study>/study/",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: auto")
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="default: 256")
    own_videos.add_options(parser)
    shipping.add_options(parser)
    return parser


def _evaluate(options: argparse.Namespace) -> Evaluation:
    if options.predictions:
        if options.out is None or options.features is not None:
            raise ValueError("--predictions: expected --out, and no --features: nothing is read.")
        return evaluate_predictions(
            options.predictions, options.part or "test", out=options.out, videos=options.videos
        )
    return evaluate_runs(
        options.run or [_choose_latest()],
        options.part or "test",
        out=options.out,
        features=options.features,
        videos=options.videos,
        device=options.device,
        batch_size=options.batch_size,
        say=_say,
    )


def _study(options: argparse.Namespace) -> int:
    _refuse(options, "--study", ("part", "videos", "dynamics"))
    study = study_runs(
        options.study,
        features=options.features,
        device=options.device,
        batch_size=options.batch_size,
        say=_say,
    )
    page = write_study(options.out or options.study / OUT, study)
    print(f"{format_study(study)}\n\nreport: {page}")
    return OK if study.is_complete else SOME_FAILED


def _draw_dynamics(options: argparse.Namespace) -> int:
    _refuse(options, "--dynamics", ("part", "videos", "predictions"))
    for folder in options.run or [_choose_latest()]:
        dynamics = compute_dynamics(load_run(folder), features=options.features)
        out = folder / "eval" / "dynamics"
        if options.out is not None:
            out = options.out if len(options.run or ()) < 2 else options.out / folder.name
        page = write_dynamics(out, dynamics)
        print(f"{format_dynamics(dynamics)}\n\nreport: {page}")
    return OK


def _refuse(options: argparse.Namespace, command: str, names: Sequence[str]) -> None:
    """Raise ValueError for options without effect on a command."""
    given = [f"--{name}" for name in names if getattr(options, name)]
    if given:
        raise ValueError(f"{' and '.join(given)} has no effect with {command}: leave it out.")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _choose_latest() -> Path:
    folder, newer = choose_latest(RUNS_FOLDER)
    for path in newer:
        print(f"{path} is newer, but not complete.", file=sys.stderr)
    print(f"The newest complete run is {folder}.", file=sys.stderr)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    options = _make_parser().parse_args(arguments)

    def command() -> int:
        if shipping.is_asked(options):
            return shipping.ship(options, options.run or [_choose_latest()])
        if own_videos.is_asked(options):
            return own_videos.run_videos(options, (options.run or [_choose_latest()])[0])
        options.videos = options.videos and options.videos[0]
        if options.study is not None:
            return _study(options)
        if options.dynamics:
            return _draw_dynamics(options)
        evaluation = _evaluate(options)
        print(f"{evaluation}\n\nreport: {evaluation.page}")
        return OK if evaluation.is_complete else SOME_FAILED

    return run_command(command, how_to_go_on="Run the same command again.")


if __name__ == "__main__":
    sys.exit(main())
