"""A grid of runs to one table: `python -m eval study`."""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.commands import options as shared
from eval.commands.verb import Verb
from pipeline.console import OK, SOME_FAILED

# ruff: noqa: PLC0415

_SUMMARY = "All runs below a folder: each net's best setting by validation is tested."
_EPILOG = """examples:
  python -m eval study multirun/2026-01-31
  python -m eval study runs/grid --out reports/grid

Each run's answers go to <run>/eval/<part>/predictions.csv; the test part is read for the chosen
settings alone.
exit code: 0; 1 if a run had no score; 2 if nothing could be done."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="runs lie in it or below")
    shared.add_out(parser, "<folder>/study/")
    shared.add_scoring(parser)


def _run(options: argparse.Namespace) -> int:
    from eval.study.page import write_study
    from eval.study.study import OUT, study_runs
    from eval.study.table import format_study

    study = study_runs(
        options.folder,
        features=options.features,
        device=options.device,
        batch_size=options.batch_size,
        say=shared.say,
    )
    page = write_study(options.out or options.folder / OUT, study)
    print(f"{format_study(study)}\n\nreport: {page}")
    return OK if study.is_complete else SOME_FAILED


STUDY = Verb("study", _SUMMARY, _EPILOG, _add_options, _run)
