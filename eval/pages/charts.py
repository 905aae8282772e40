"""Charts of several seeds: bars with a dot for each, lines of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator

from eval.pages.svg import COLOURS, INK, STYLE, make_axes, to_svg

_MORE_COLOURS = (*COLOURS, "#7a6a3a")
_GAP = 0.2


def draw_bars(
    bars: Mapping[str, Mapping[str, Sequence[float]]], name: str, *, floor: float, axes_name: str
) -> str:
    """For each group a bar of each series: the mean of its seeds' shares, each seed a dot.

    `bars`: by series, then by group. A series without a seed in a group has no bar there. The
    dashed line is the floor.
    """
    groups = list(dict.fromkeys(group for series in bars.values() for group in series))
    width = (1 - _GAP) / len(bars)
    with mpl.rc_context(STYLE):
        figure, axes = make_axes(7.6, 3.4)
        for place, (series, colour) in enumerate(zip(bars, cycle(_MORE_COLOURS), strict=False)):
            label: str | None = series
            for at, group in enumerate(groups):
                seeds = bars[series].get(group, ())
                if not seeds:
                    continue
                x = at + (place - (len(bars) - 1) / 2) * width
                axes.bar(
                    x, float(np.mean(seeds)), 0.9 * width, color=colour, alpha=0.75, label=label
                )
                axes.plot([x] * len(seeds), seeds, ".", color=INK, markersize=3.5, clip_on=False)
                label = None
        axes.axhline(floor, color=INK, linestyle="--", linewidth=1)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, 1)
        axes.set_ylabel(axes_name)
        if any(any(series.values()) for series in bars.values()):
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
        return to_svg(figure, name, _describe_bars(bars, floor=floor, axes_name=axes_name))


def _describe_bars(
    bars: Mapping[str, Mapping[str, Sequence[float]]], *, floor: float, axes_name: str
) -> str:
    told = [
        f"{series} " + ", ".join(f"{g}: {np.mean(s):.2f}" for g, s in groups.items() if s)
        for series, groups in bars.items()
        if any(groups.values())
    ]
    return f"Bars of {axes_name}, floor {floor:.3f}. {'; '.join(told) or 'No run yet'}."


def draw_losses(
    losses: Mapping[str, Sequence[Sequence[float]]],
    name: str,
    *,
    marks: Sequence[int],
    axes_name: str,
) -> str:
    """A line for each seed of each series over the epochs; dotted where the rate was cooled."""
    with mpl.rc_context(STYLE):
        figure, axes = make_axes(7.6, 3.2)
        for (series, seeds), colour in zip(losses.items(), cycle(_MORE_COLOURS), strict=False):
            for place, values in enumerate(seeds):
                axes.plot(
                    range(1, len(values) + 1), values, color=colour, linewidth=1.4, alpha=0.85,
                    label=series if place == 0 else None,
                )  # fmt: skip
        for mark in marks:
            axes.axvline(mark, color=INK, linestyle=":", linewidth=1)
        axes.set_xlabel("epoch")
        axes.set_ylabel(axes_name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if any(losses.values()):
            axes.legend()
        told = [f"{series}: {len(seeds)} seeds" for series, seeds in losses.items()]
        return to_svg(figure, name, f"{axes_name} by epoch. {'; '.join(told)}.")
