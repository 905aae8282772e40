"""From runs to scores: `python -m eval`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.evaluate import (
    PARTS,
    Evaluation,
    choose_latest,
    evaluate_predictions,
    evaluate_runs,
)
from eval.predict import DEVICES
from pipeline.console import OK, SOME_FAILED, run_command

RUNS_FOLDER = Path("runs")
_EXAMPLES = """examples:
  python -m eval                                   the newest run below runs/
  python -m eval --run runs/a --videos UCF101/     one run, with frames of its worst clips
  python -m eval --run runs/a --part val           on the validation part
  python -m eval --run runs/np-rnn-* runs/lstm-*   one table; seeds of one config are joined
  python -m eval --predictions runs/*/eval/test/predictions.csv --out reports/again
                                                   from files, without a net or features

Each run's answers go to <run>/eval/<part>/predictions.csv, one row a clip.
exit code: 0; 1 if a run had no score (incomplete or diverged); 2 if nothing could be done.
Clips that are missing are said beside the score and do not change the exit code."""


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eval",
        description="Scores of runs on clips they were not trained on, and a report page.",
        epilog=_EXAMPLES,
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
    parser.add_argument("--part", choices=PARTS, default="test", help="default: test")
    parser.add_argument(
        "--features", metavar="DIR", help="a feature store in place of the one trained on"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the report goes; default: <run>/eval/<part>/, or reports/<name>/ for several",
    )
    parser.add_argument(
        "--videos", type=Path, metavar="DIR", help="the clips' folder, to show frames in the report"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: auto")
    parser.add_argument("--batch-size", type=int, default=256, metavar="N", help="default: 256")
    return parser


def _evaluate(options: argparse.Namespace) -> Evaluation:
    if options.predictions:
        if options.out is None or options.features is not None:
            raise ValueError("--predictions: expected --out, and no --features: nothing is read.")
        return evaluate_predictions(
            options.predictions, options.part, out=options.out, videos=options.videos
        )
    return evaluate_runs(
        options.run or [_choose_latest()],
        options.part,
        out=options.out,
        features=options.features,
        videos=options.videos,
        device=options.device,
        batch_size=options.batch_size,
        say=lambda line: print(line, file=sys.stderr),
    )


def _choose_latest() -> Path:
    folder, newer = choose_latest(RUNS_FOLDER)
    for path in newer:
        print(f"{path} is newer, but not complete.", file=sys.stderr)
    print(f"The newest complete run is {folder}.", file=sys.stderr)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    options = _make_parser().parse_args(arguments)

    def command() -> int:
        evaluation = _evaluate(options)
        print(f"{evaluation}\n\nreport: {evaluation.page}")
        return OK if evaluation.is_complete else SOME_FAILED

    return run_command(command, how_to_go_on="Run the same command again.")


if __name__ == "__main__":
    sys.exit(main())
