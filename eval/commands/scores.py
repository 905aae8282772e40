"""Scores of runs and a report page: what `python -m eval` does without a verb."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eval.commands import options as shared
from eval.commands.spellings import refuse_old_spelling
from eval.commands.verb import Verb
from pipeline.clips import find_clips
from pipeline.console import OK, SOME_FAILED

if TYPE_CHECKING:
    from eval.report.evaluate import Evaluation

# ruff: noqa: PLC0415

_SUMMARY = "Scores of runs on clips they were not trained on, and a report page."
_EPILOG = """examples:
  python -m eval                                   the newest run below runs/
  python -m eval --run runs/a --videos UCF101/     one run, with frames of videos that moved
  python -m eval --run runs/a --part val           on the validation part
  python -m eval --run runs/np-rnn-* runs/lstm-*   one table; seeds of one config are joined
  python -m eval --run runs/a --frames shuffled    without the order of each clip's frames
  python -m eval --predictions runs/*/eval/test/predictions.csv --out reports/again
                                                   from files, without a net or features

Each run's answers go to <run>/eval/<part>/predictions.csv, or into --out, one row a clip.
exit code: 0; 1 if a run had no score (incomplete or diverged); 2 if nothing could be done.
Clips that are missing are said beside the score and do not change the exit code."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--run", nargs="+", type=Path, metavar="FOLDER", help="run folders or zips of them"
    )
    source.add_argument(
        "--latest", action="store_true", help="the newest run below runs/ (default)"
    )
    source.add_argument(
        "--predictions", nargs="+", type=Path, metavar="FILE", help="files of predictions instead"
    )
    parser.add_argument("--part", default="test", metavar="PART", help="val, or test (default)")
    parser.add_argument(
        "--videos",
        type=Path,
        metavar="DIR|CSV",
        help="where the videos are now, to show frames of clips in the report; not needed where "
        "they lie as extract found them",
    )
    parser.add_argument(
        "--pairs",
        nargs="+",
        default=(),
        metavar="A/B",
        help="classes to tell apart two by two, such as SitDown/StandUp: the share of their clips "
        "with a larger output for their class than for the other",
    )
    parser.add_argument(
        "--frames",
        metavar="WHICH",
        help="all (default), shuffled, reversed or first-half: what nets lose without the order of "
        "a clip's frames; goes to <run>/eval/<part>-<which>/",
    )
    shared.add_out(parser, "<run>/eval/<part>/, or reports/<name>/ for several runs")
    shared.add_scoring(parser)


def _run(options: argparse.Namespace) -> int:
    if options.videos is not None:
        find_clips(options.videos)  # a mistake is said before the work, not after it
    evaluation = _evaluate(options)
    print(f"{evaluation}\n\nreport: {evaluation.page}")
    return OK if evaluation.is_complete else SOME_FAILED


def _evaluate(options: argparse.Namespace) -> Evaluation:
    if options.predictions:
        from eval.report.evaluate import evaluate_predictions
        from eval.scores.pairs import parse_pairs

        reads = options.features is not None or options.frames is not None
        if options.out is None or reads:
            raise ValueError(
                "--predictions: expected --out, and no --features or --frames: nothing is read."
            )
        return evaluate_predictions(
            options.predictions,
            options.part,
            out=options.out,
            videos=options.videos,
            pairs=parse_pairs(options.pairs),
        )
    runs = shared.choose_runs(options.run)
    shared.check_out(runs, options.out)
    from eval.report.evaluate import evaluate_runs
    from eval.scores.pairs import parse_pairs

    return evaluate_runs(
        runs,
        options.part,
        out=options.out,
        features=options.features,
        frames=options.frames or "all",
        videos=options.videos,
        pairs=parse_pairs(options.pairs),
        device=options.device,
        batch_size=options.batch_size,
        say=shared.say,
    )


SCORES = Verb("", _SUMMARY, _EPILOG, _add_options, _run, check=refuse_old_spelling)
