"""The pictures of a report, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from eval.pages.svg import ACCENT, COLOURS, INK, STYLE, make_axes, set_log_scale, to_svg
from eval.report.curves import Curve
from eval.scores.scores import Score

_LOG_FROM = 1000  # the ratio of losses from which they have a logarithmic scale
_MOST_NUMBERED_CLASSES = 15
_INCHES_PER_LETTER = 0.09
"""Of a title of 10 points: the page's own font is wider than the one that matplotlib measures."""


def draw_curves(logs: Sequence[Mapping[str, Curve]], name: str, *, loss: bool) -> str:
    """Losses, or the other numbers, against the epoch; a line for each run. "" without any."""
    columns = sorted({c for log in logs for c in log if ("loss" in c) == loss})
    columns = [c for c in columns if loss or not _is_setting(c)]
    if not any(log.get(column) for log in logs for column in columns):
        return ""
    with mpl.rc_context(STYLE):
        figure, axes = make_axes(5.0, 3.1)
        for colour, column in zip(cycle(COLOURS), columns, strict=False):
            for place, log in enumerate(log for log in logs if log.get(column)):
                epochs, values = zip(*log[column], strict=True)
                axes.plot(
                    epochs, values, color=colour, linewidth=1.6, alpha=0.85,
                    marker="o" if len(epochs) < 3 else None,
                    label=column.replace("_", " ") if place == 0 else None,
                )  # fmt: skip
        values_of_all = [v for log in logs for c in columns for _, v in log.get(c, ())]
        if loss and max(values_of_all) > _LOG_FROM * min(values_of_all) > 0:
            set_log_scale(axes)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        what = ", ".join(column.replace("_", " ") for column in columns)
        return to_svg(figure, name, f"Curves over the epochs of training: {what}.")


def _is_setting(column: str) -> bool:
    return column.startswith("lr") or "seconds" in column


def draw_intervals(rows: Sequence[tuple[str, Score]], name: str) -> str:
    """A line for each row from low to high, a dot at its score, a bar at its floor."""
    with mpl.rc_context(STYLE):
        figure, axes = make_axes(6.4, 0.9 + 0.36 * len(rows))
        for place, (_, score) in enumerate(reversed(rows)):
            ends = (score.estimate.low, score.estimate.high)
            axes.plot(
                ends, (place, place), color=ACCENT, linewidth=2.2, solid_capstyle="round",
                clip_on=False,
            )  # fmt: skip
            axes.plot(score.estimate.value, place, "o", color=ACCENT, markersize=6, clip_on=False)
            axes.plot(
                score.floor, place, "|", color=INK, markersize=12, markeredgewidth=1.6,
                clip_on=False,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [label for label, _ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        if rows[0][1].is_share:
            axes.set_xlim(0, 1)
        axes.set_xlabel(f"{rows[0][1].name}, 95 % interval; the bar is the floor")
        text = "; ".join(f"{label}: {score.estimate}" for label, score in rows)
        return to_svg(figure, name, f"{rows[0][1].name} and 95 % interval of each row. {text}.")


def draw_confusions(counts: NDArray[np.int64], labels: Sequence[str], *, name: str) -> str:
    """The confusion matrix: a row's shade is the share of its class's clips."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    side = min(max(3.6, 0.42 * len(labels) + 1.6), 13.0)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = make_axes(side, side)
        shades = np.empty((*counts.shape, 4))
        shades[..., :3], shades[..., 3] = to_rgb(ACCENT), shares
        axes.imshow(shades, interpolation="nearest")
        size = 9 if len(labels) <= 30 else 6
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(len(labels)), labels, fontsize=size)
        axes.set_xlabel("answer")
        axes.set_ylabel("class")
        if len(labels) <= _MOST_NUMBERED_CLASSES:
            _write_counts(axes, counts)
        hits = int(np.trace(counts))
        return to_svg(
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


def draw_heat_map(
    values: NDArray[np.floating],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    name: str,
    title: str,
    axes_names: tuple[str, str],
    limits: tuple[float, float],
    chosen: tuple[int, int],
) -> str:
    """A number in each cell and its shade between `limits`, NaN where there is none.

    `axes_names` are those of the rows and the columns; the `chosen` cell (row, column) is framed.
    """
    low, high = limits
    shades = np.empty((*values.shape, 4))
    shades[..., :3] = to_rgb(ACCENT)
    shades[..., 3] = np.nan_to_num((values - low) / max(high - low, 1e-9)) * 0.8
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        width = max(1.6 + 0.72 * len(columns), _INCHES_PER_LETTER * len(title) + 0.2)
        figure, axes = make_axes(width, 1.2 + 0.5 * len(rows))
        axes.imshow(shades, interpolation="nearest", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            text = "none" if np.isnan(value) else f"{value:.3f}"
            weight = "bold" if (row, column) == chosen else "normal"
            axes.text(column, row, text, ha="center", va="center", weight=weight, fontsize=9)
        row, column = chosen
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.8)
        )
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_ylabel(axes_names[0])
        axes.set_xlabel(axes_names[1])
        figure.suptitle(title, fontsize=10)  # over the whole figure, not the axes alone
        what = f"{title}: a heat map over {axes_names[0]} and {axes_names[1]}. The best, "
        return to_svg(
            figure,
            name,
            f"{what}{values[chosen]:.3f}, at {rows[row]} and {columns[column]}.",
        )
