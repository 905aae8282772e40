"""A look inside a net before and after training: `python -m eval dynamics`."""

from __future__ import annotations

import argparse

from eval.commands import options as shared
from eval.commands.verb import Verb
from pipeline.console import OK

# ruff: noqa: PLC0415

_SUMMARY = "A net's dynamics before and after training: spectrum, gradients, states."
_EPILOG = """examples:
  python -m eval dynamics                          of the newest run below runs/
  python -m eval dynamics --run runs/a runs/b      of several, a page each"""


def _add_options(parser: argparse.ArgumentParser) -> None:
    shared.add_runs(parser)
    shared.add_features(parser)
    shared.add_out(parser, "<run>/eval/dynamics/; for several runs a folder each in DIR")


def _run(options: argparse.Namespace) -> int:
    runs = shared.choose_runs(options.run)
    shared.check_out(runs, options.out)
    from eval.dynamics.dynamics import compute_dynamics
    from eval.dynamics.page import format_dynamics, write_dynamics
    from pipeline.runs import load_run

    for folder in runs:
        dynamics = compute_dynamics(load_run(folder), features=options.features)
        out = folder / "eval" / "dynamics"
        if options.out is not None:
            out = options.out if len(runs) == 1 else options.out / folder.name
        page = write_dynamics(out, dynamics)
        print(f"{format_dynamics(dynamics)}\n\nreport: {page}")
    return OK


DYNAMICS = Verb("dynamics", _SUMMARY, _EPILOG, _add_options, _run)
