"""Pictures as inline SVG. The only home of matplotlib.

Ink takes the colour of the text around the picture, so that it reads on a light and a dark page.
Every picture has a `name`, unlike that of any other on its page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from eval.curves import Curve
from eval.scores import Score

_INK = "#010203"  # stands for the page's text colour
_ACCENT = "#3b7dd8"
_COLOURS = ("#3b7dd8", "#d9822b", "#2f9e6e", "#b65fcf", "#c94f4f", "#8a8f98")
_MOST_NUMBERED_CLASSES = 15
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "eval",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def draw_curves(logs: Sequence[Mapping[str, Curve]], name: str, *, loss: bool) -> str:
    """Losses, or the other numbers, against the epoch; a line for each run. "" without any."""
    columns = sorted({c for log in logs for c in log if ("loss" in c) == loss})
    columns = [c for c in columns if loss or not _is_setting(c)]
    if not any(log.get(column) for log in logs for column in columns):
        return ""
    with mpl.rc_context(_STYLE):
        figure, axes = _make_axes(5.0, 3.1)
        for colour, column in zip(cycle(_COLOURS), columns, strict=False):
            for place, log in enumerate(log for log in logs if log.get(column)):
                epochs, values = zip(*log[column], strict=True)
                axes.plot(
                    epochs, values, color=colour, linewidth=1.6, alpha=0.85,
                    marker="o" if len(epochs) < 3 else None,
                    label=column.replace("_", " ") if place == 0 else None,
                )  # fmt: skip
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        what = ", ".join(column.replace("_", " ") for column in columns)
        return _to_svg(figure, name, f"Curves over the epochs of training: {what}.")


def _is_setting(column: str) -> bool:
    return column.startswith("lr") or "seconds" in column


def draw_intervals(rows: Sequence[tuple[str, Score]], name: str) -> str:
    """A line for each row from low to high, a dot at its score, a bar at its floor."""
    with mpl.rc_context(_STYLE):
        figure, axes = _make_axes(6.4, 0.9 + 0.36 * len(rows))
        for place, (_, score) in enumerate(reversed(rows)):
            ends = (score.estimate.low, score.estimate.high)
            axes.plot(ends, (place, place), color=_ACCENT, linewidth=2.2, solid_capstyle="round")
            axes.plot(score.estimate.value, place, "o", color=_ACCENT, markersize=6)
            axes.plot(score.floor, place, "|", color=_INK, markersize=12, markeredgewidth=1.6)
        axes.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        if rows[0][1].is_share:
            axes.set_xlim(0, 1)
        axes.set_xlabel(f"{rows[0][1].name}, 95 % interval; the bar is the floor")
        text = "; ".join(f"{label}: {score.estimate}" for label, score in rows)
        return _to_svg(figure, name, f"{rows[0][1].name} and 95 % interval of each row. {text}.")


def draw_confusions(counts: NDArray[np.int64], labels: Sequence[str], *, name: str) -> str:
    """The confusion matrix: a row's shade is the share of its class's clips."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    side = min(max(3.6, 0.42 * len(labels) + 1.6), 13.0)
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        figure, axes = _make_axes(side, side)
        shades = np.empty((*counts.shape, 4))
        shades[..., :3], shades[..., 3] = to_rgb(_ACCENT), shares
        axes.imshow(shades, interpolation="nearest")
        size = 9 if len(labels) <= 30 else 6
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(len(labels)), labels, fontsize=size)
        axes.set_xlabel("answer")
        axes.set_ylabel("class")
        if len(labels) <= _MOST_NUMBERED_CLASSES:
            _write_counts(axes, counts)
        hits = int(np.trace(counts))
        return _to_svg(
            figure,
            name,
            f"Confusion matrix of {len(labels)} classes: {hits} of {int(counts.sum())} answers lie "
            f"on the diagonal. The table of confused pairs says the rest.",
        )


def _write_counts(axes: Axes, counts: NDArray[np.int64]) -> None:
    for (row, column), num in np.ndenumerate(counts):
        if num:
            weight = "bold" if row == column else "normal"
            axes.text(column, row, str(num), ha="center", va="center", weight=weight, fontsize=9)


def _make_axes(width_inches: float, height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    return figure, figure.add_subplot()


def _to_svg(figure: Figure, name: str, description: str) -> str:
    """An <svg> element that says what it is, with ids that start with `name`, and no address."""
    stream = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    svg = text[text.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
