"""How well runs know what they do not know: `python -m eval unknown`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from eval.commands import options as shared
from eval.commands.verb import Verb
from pipeline.console import OK

if TYPE_CHECKING:
    from eval.scores.unknown import UnknownScores

# ruff: noqa: PLC0415

_SUMMARY = "How well runs tell their classes from classes that they were never shown."
_EPILOG = """examples:
  python -m train features=features/x split=without-archery.csv
                                                   a list whose column split leaves a class out
  python -m eval unknown --run runs/*              that class's clips against the test part's

AUROC: the share of pairs of a known and an unknown clip in which the run is surer of the known one,
by its largest probability, by energy and by its largest output. At the threshold of predict,
"kept" is the share of the known clips above it, "refused" of the unknown below it."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    shared.add_runs(parser)
    parser.add_argument("--part", default="test", metavar="PART", help="val, or test (default)")
    shared.add_scoring(parser)


def _run(options: argparse.Namespace) -> int:
    from eval.scores.unknown import score_unknown
    from pipeline.choices import check_choice
    from pipeline.devices import resolve_device
    from pipeline.runs import load_run

    check_choice("--part", options.part, ("val", "test"))
    found = [
        score_unknown(
            load_run(path),
            part=options.part,
            features=options.features,
            batch_size=options.batch_size,
            device=resolve_device(options.device),
        )
        for path in shared.choose_runs(options.run)
    ]
    print(format_unknown(found))
    return OK


def format_unknown(found: Sequence[UnknownScores]) -> str:
    """A line a run, and one for each net of several; then what was left out."""
    from eval.pages.text import align
    from eval.predictions.unknown import CONFIDENCES
    from eval.scores.unknown import FLOOR

    by_net = defaultdict(list)
    for scores in found:
        by_net[scores.run.config.net.name].append(scores)
    measures = [f"AUROC by {name}" for name in CONFIDENCES]
    rates = ["threshold", "kept", "refused", "accuracy", "of kept"]
    table = [["run", "known", "unknown", *measures, *rates]]
    table += [_write_line(scores.run.folder.name, [scores]) for scores in found]
    table += [
        _write_line(f"{net}, {len(members)} runs", members)
        for net, members in by_net.items()
        if len(members) > 1
    ]
    lines = align(table, [False, *([True] * (len(table[0]) - 1))])
    left_out = [f"{s.run.folder.name} was not shown {', '.join(s.left_out)}." for s in found]
    return "\n".join([*lines, "", f"Floor of AUROC: {FLOOR}.", *left_out])


def _write_line(name: str, members: Sequence[UnknownScores]) -> list[str]:
    import numpy as np

    from eval.predictions.unknown import CONFIDENCES
    from eval.scores.unknown import estimate_auroc

    estimates = [estimate_auroc([m.rankings[by] for m in members]) for by in CONFIDENCES]
    thresholds = [m.threshold for m in members if m.threshold is not None]
    rates = [
        float(np.mean([getattr(m, n) for m in members]))
        for n in ("kept", "refused", "accuracy_of_all", "accuracy")
    ]
    return [
        name,
        _write_range([m.num_known for m in members]),
        _write_range([m.num_unknown for m in members]),
        *map(str, estimates),
        f"{np.mean(thresholds):.3f}" if thresholds else "none",
        *(f"{rate:.3f}" for rate in rates),
    ]


def _write_range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}-{high}"


UNKNOWN = Verb("unknown", _SUMMARY, _EPILOG, _add_options, _run)
