"""The papers carried out: `python -m papers np-rnn`; `python -m papers --help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from papers.reproduction.books import PAPERS, Paper
from pipeline.choices import check_choice
from pipeline.console import OK, SOME_FAILED, run_command

if TYPE_CHECKING:
    from papers.reproduction.cells import Cell, Plan
    from papers.reproduction.estimate import Clock
    from papers.reproduction.lines import Line

# What trains is imported where it is called: --help and wrong options need no torch.
# ruff: noqa: PLC0415

OUT = Path("papers-output")
_ALL, _DEFAULT = "all", "default"
_EXAMPLES = """examples:
  python -m papers np-rnn --list                       what there is, and how long each takes here
  python -m papers np-rnn --only figure-3 --seeds 1    one figure with one seed
  python -m papers np-rnn --mnist data --features features/UCF-101-googlenet
                                                       all of it: days; stop it whenever you like
  python -m papers irnn --words ptb --speech features/TIMIT
                                                       its language model and its speech
  python -m papers np-rnn --budget 0.01                a trial with a hundredth of the training
  python -m papers np-rnn --page                       the page of the results there are
  python -m papers np-rnn --join other/results         with lines, or run folders, made elsewhere

Runs, lines and page go to --out. It goes on where it stopped, in rounds of seeds, and nothing that
has a line, here or among the results that come with the program, is trained again.
exit code: 0; 1 if a run could not be made; 2 if nothing could be done."""


def make_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m papers",
        description="Carry out a paper's experiments, and judge each of its sentences.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paper", metavar="PAPER", help=f"one of {', '.join(PAPERS)}")
    add("--list", action="store_true", help="say what there is, run nothing")
    add("--page", action="store_true", help="write the page, run nothing")
    add("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1; default 5")
    add("--only", metavar="A,B", help="these figures and tables; default: all")
    add(
        "--readings", default=_ALL, metavar="A,B",
        help="of what the paper leaves open: all (default), default, or names",
    )  # fmt: skip
    add("--budget", type=float, default=1.0, metavar="SHARE", help="of each training; default 1")
    add("--jobs", type=int, metavar="N", help="processes side by side; default: one a core")
    add("--features", type=Path, metavar="STORE", help="features of UCF-101's clips")
    add("--split", default="ucf101-split1", metavar="SPLIT", help="default: ucf101-split1")
    add("--mnist", type=Path, metavar="FOLDER", help="MNIST's four idx files")
    add("--words", type=Path, metavar="FOLDER", help="Penn Treebank's ptb.*.txt")
    add(
        "--sentences", type=Path, metavar="FOLDER",
        help="sentences, as the 1 Billion Word benchmark's",
    )  # fmt: skip
    add("--speech", type=Path, metavar="STORE", help="features of speech, as TIMIT's")
    add("--join", nargs="+", type=Path, default=[], metavar="PATH", help="results made elsewhere")
    add("--out", type=Path, default=OUT, metavar="DIR", help=f"default: {OUT}")
    add("--results", type=Path, metavar="DIR", help="where lines go; default: <out>/results")
    return parser


def run_paper(options: argparse.Namespace) -> int:
    """Do what the options ask for; the exit code."""
    check_choice("PAPER", options.paper, PAPERS)
    if options.seeds < 1:
        raise ValueError(f"--seeds: expected 1 or more, found {options.seeds}.")
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"--jobs: expected 1 or more, found {options.jobs}.")
    from papers.reproduction.carry_out import find_missing, order
    from papers.reproduction.estimate import Clock
    from papers.reproduction.lines import SHIPPED, read_lines

    plan, results = _make_plan(options), options.results or options.out / "results"
    _check_places(plan, options.join)
    num_jobs = options.jobs or os.cpu_count() or 1
    is_from_lines = options.page and not options.join
    cells = [] if is_from_lines else plan.cells()
    _join(options.join, cells, results)
    lines = read_lines([SHIPPED, *([results] if results.is_dir() else [])])
    clock = Clock(cells, lines)
    missing = order(find_missing(cells, lines), clock)
    if options.list:
        _list_cells(plan, cells, missing, clock=clock, num_jobs=num_jobs)
        return OK
    write = partial(_write_page, options, plan, results)
    code = OK
    try:
        if not options.page:
            _say_missing(plan)
            code = _carry_out(
                options, missing, clock=clock, results=results, num_jobs=num_jobs, write_page=write
            )
    finally:
        print(f"page: {write()}", flush=True)
    return code


def _make_plan(options: argparse.Namespace) -> Plan:
    from papers.reproduction.cells import Data, Plan, choose

    paper: Paper = PAPERS[options.paper]
    only = options.only.split(",") if options.only else None
    names = {_ALL: list(paper.readings), _DEFAULT: []}.get(
        options.readings, options.readings.split(",")
    )
    for name in names:
        check_choice("--readings", name, [_ALL, _DEFAULT, *paper.readings])
    return Plan(
        experiments=choose(paper.experiments, only),
        readings={name: paper.readings[name] for name in names},
        data=Data(
            options.features,
            options.split,
            options.mnist,
            options.words,
            options.sentences,
            options.speech,
        ),
        num_seeds=options.seeds,
        budget=options.budget,
    )


def _check_places(plan: Plan, joined: Sequence[Path]) -> None:
    plan.data.check()
    for place in joined:
        if not place.exists():
            raise ValueError(
                f"--join: expected a file or folder of results, or of runs, found no {place}."
            )


def _join(places: Sequence[Path], cells: Sequence[Cell], results: Path) -> None:
    """Add the lines, and those of complete runs of these cells, that lie in the places."""
    from papers.reproduction.lines import add_lines, read_lines
    from papers.reproduction.work import describe_runs

    for place in places:
        is_of_lines = place.is_file() or any(place.glob("*.csv"))
        found = read_lines([place]) if is_of_lines else describe_runs(place, cells)
        print(f"{place}: {add_lines(results, found)} new of {len(found)} results")


def _say_missing(plan: Plan) -> None:
    for reason, trials in plan.missing().items():
        print(f"Left out, {len(trials)} trials: {reason}")


def _list_cells(
    plan: Plan, cells: Sequence[Cell], missing: Sequence[Cell], *, clock: Clock, num_jobs: int
) -> None:
    from eval.pages.text import align, write_seconds

    left = {cell.config.digest(): clock.seconds(cell) for cell in missing}
    table = [["experiment", "reading", "trials", "runs", "done", "a run", "left"]]
    for name, experiment in plan.experiments.items():
        budget = experiment.share(plan.budget)
        for reading in ("default", *([] if experiment.is_ours else plan.readings)):
            change = plan.readings[reading].apply if reading in plan.readings else None
            trials = {change(t) if change else t for t in experiment.trials}
            trials -= set(experiment.trials) if change else set()
            own = [c for c in cells if c.trial in trials and c.config.budget == budget]
            if not trials:
                continue
            seconds = [clock.seconds(cell) for cell in own]
            open_ = [left[d] for cell in own if (d := cell.config.digest()) in left]
            table.append(
                [
                    name, reading, str(len(trials)), str(len(own)), str(len(own) - len(open_)),
                    f"{write_seconds(min(seconds))} to {write_seconds(max(seconds))}"
                    if own else "no data", write_seconds(sum(open_)) if own else "",
                ]
            )  # fmt: skip
    print("\n".join(align(table, [False, False, True, True, True, True, True])))
    where = "" if clock.is_of_this_machine else " (no run was made here yet: a rough guess)"
    total = write_seconds(sum(left.values()) / num_jobs)
    print(f"\nIn all {total} left on {num_jobs} cores{where}.")
    _say_missing(plan)


def _carry_out(
    options: argparse.Namespace,
    missing: Sequence[Cell],
    *,
    clock: Clock,
    results: Path,
    num_jobs: int,
    write_page: Callable[[], Path],
) -> int:
    from papers.reproduction.carry_out import carry_out_all

    if not missing:
        print("Nothing is missing.")
        return OK
    failed = carry_out_all(
        missing, runs=options.out / "runs", results=results, clock=clock, num_jobs=num_jobs,
        write_page=write_page,
    )  # fmt: skip
    for refused in failed:
        print(f"{refused.name}: {refused.reason}", file=sys.stderr)
    return SOME_FAILED if failed else OK


def _write_page(options: argparse.Namespace, plan: Plan, results: Path) -> Path:
    from papers.reproduction.lines import SHIPPED, read_lines
    from papers.reproduction.page import write_page

    lines: Sequence[Line] = read_lines([SHIPPED, *([results] if results.is_dir() else [])])
    return write_page(
        options.out, options.paper, lines, budget=options.budget, clips=plan.data.clips
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    return run_command(
        lambda: run_paper(make_parser().parse_args(arguments)),
        how_to_go_on="Run the same command again: it goes on where it stopped.",
    )


if __name__ == "__main__":
    sys.exit(main())
