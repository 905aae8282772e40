"""What all benchmarks share: two sides of a ratio, the machine, a table, JSON, a picture."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pipeline.recurrent import fused
from pipeline.versions import find_versions, name_processor

RESULTS = Path("benchmarks/results")
DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "h5py", "av", "numpy")


@dataclass(frozen=True)
class Side:
    """One side of a ratio: its value in every round."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Two sides measured by turns in one run, and the target for their ratio.

    `kind`: `time` (seconds or milliseconds: the ratio is theirs over ours), `rate` (ours over
    theirs) or `share` (a part and its whole: the ratio is to stay at or below the target).
    """

    what: str
    unit: str
    kind: str
    ours: Side
    theirs: Side
    target: float | None = None

    def __post_init__(self) -> None:
        assert self.kind in ("time", "rate", "share")
        assert self.ours.values
        assert self.theirs.values

    @property
    def ratio(self) -> float:
        """Of the best rounds: what others on the machine disturb least."""
        best = min if self.kind == "time" else max
        if self.kind == "share":
            return self.ratio_of_medians
        ours, theirs = best(self.ours.values), best(self.theirs.values)
        return theirs / ours if self.kind == "time" else ours / theirs

    @property
    def ratio_of_medians(self) -> float:
        ours, theirs = statistics.median(self.ours.values), statistics.median(self.theirs.values)
        return theirs / ours if self.kind == "time" else ours / theirs

    @property
    def is_met(self) -> bool | None:
        if self.target is None:
            return None
        return self.ratio <= self.target if self.kind == "share" else self.ratio >= self.target


def describe_machine() -> dict[str, str]:
    """Processor, system and versions, as every report names them."""
    isa = fused.isa() if fused.is_available() else "no kernel"
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        "processor": f"{name_processor()}, {os.cpu_count()} cores, kernel for {isa}",
        **gpu,
        "threads": str(torch.get_num_threads()),
        "load at the start": f"{os.getloadavg()[0]:.2f}"
        if hasattr(os, "getloadavg")
        else "unknown",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {v}" for name, v in find_versions(_PACKAGES).items()),
    }


def find_data() -> Path | None:
    """The folder of real data (`NPRNN_DATA`, or `../shared/data` beside the checkout), if any."""
    folder = Path(os.environ.get("NPRNN_DATA", DATA))
    return folder if (folder / "INDEX.md").is_file() else None


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="little of each: to see that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser


def write_report(
    name: str,
    comparisons: Sequence[Comparison],
    options: argparse.Namespace,
    *,
    machine: Mapping[str, str],
    more: Mapping[str, Any] | None = None,
) -> None:
    """Print the comparisons, and write them to `<out>/<name>.json` and `<out>/<name>.png`.

    `more` is what else was measured: it is printed and written as it is. What `--quick` measures
    is held against no target.
    """
    out: Path = options.out
    if options.quick:
        comparisons = [replace(comparison, target=None) for comparison in comparisons]
    print(*(f"{key}: {value}" for key, value in machine.items()), sep="\n")
    print(format_table(comparisons))
    print(*(f"{key}: {value}" for key, value in (more or {}).items()), sep="\n")
    out.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            **asdict(c), "ratio": c.ratio, "ratio_of_medians": c.ratio_of_medians,
            "is_met": c.is_met,
        }
        for c in comparisons
    ]  # fmt: skip
    content = {"machine": machine, "comparisons": rows, **(more or {})}
    (out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    draw(comparisons, out / f"{name}.png")


def format_table(comparisons: Sequence[Comparison]) -> str:
    """A line a comparison: best and median of both sides, ratio of the best, target."""
    rows = [("best (median)", "unit", "ours", "the other", "ratio", "target")]
    for c in comparisons:
        verdict = {True: "met", False: "MISSED", None: ""}[c.is_met]
        bound = "" if c.target is None else f"{'<=' if c.kind == 'share' else '>='} {c.target:g} "
        sides = (_format_side(c, c.ours), _format_side(c, c.theirs))
        rows.append((c.what, c.unit, *sides, f"{c.ratio:.3g}", bound + verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _format_side(comparison: Comparison, side: Side) -> str:
    best = min(side.values) if comparison.kind == "time" else max(side.values)
    return f"{side.name} {best:.4g} ({statistics.median(side.values):.4g})"


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """One bar a ratio, with its target as a mark, on a logarithmic axis."""
    from matplotlib.figure import Figure  # noqa: PLC0415  only the picture needs it

    figure = Figure(figsize=(9, 0.6 * len(comparisons) + 1.5), layout="constrained")
    axes = figure.subplots()
    rows = range(len(comparisons))
    axes.barh(rows, [c.ratio for c in comparisons], color="#4477aa")
    marks = [(c.target, row) for row, c in enumerate(comparisons) if c.target is not None]
    if marks:
        axes.plot(*zip(*marks, strict=True), "k|", markersize=18, label="target")
        axes.legend()
    labels = [f"{c.what}\n{c.ours.name} / {c.theirs.name}" for c in comparisons]
    axes.set_yticks(rows, labels, fontsize=7)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("ratio")
    figure.savefig(path, dpi=120)
