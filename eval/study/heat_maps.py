"""Figure 6 of the np-RNN paper: validation scores over learning rate and dropout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.report.pictures import draw_heat_map
from eval.study.choice import DROPOUT, LEARNING_RATE, NetStudy, Setting, TaskStudy


@dataclass(frozen=True)
class Grid:
    """The best validation score of each pair (learning rate, dropout); NaN where there is none."""

    learning_rates: tuple[float, ...]
    dropouts: tuple[float, ...]
    values: NDArray[np.float64]
    """(dropouts, learning rates)."""


def make_grid(net: NetStudy) -> Grid | None:
    """The net's grid; None unless its settings vary in both, or none has a score."""
    cells: dict[tuple[float, float], list[Setting]] = {}
    for setting in net.settings:
        rate, dropout = setting.value(LEARNING_RATE), setting.value(DROPOUT)
        if rate is not None and dropout is not None:
            cells.setdefault((dropout, rate), []).append(setting)
    rates = tuple(sorted({rate for _, rate in cells}))
    dropouts = tuple(sorted({dropout for dropout, _ in cells}))
    if min(len(rates), len(dropouts)) < 2 or net.chosen is None:
        return None
    values = np.full((len(dropouts), len(rates)), np.nan)
    for (dropout, rate), settings in cells.items():
        best = NetStudy(net.model, tuple(settings)).chosen
        if best is not None and best.score is not None:
            values[dropouts.index(dropout), rates.index(rate)] = best.score.estimate.value
    return Grid(rates, dropouts, values)


@dataclass(frozen=True)
class HeatMaps:
    """An SVG for each net with a grid, all in one scale of shades from 0 to `most`."""

    pictures: tuple[str, ...]
    most: float


def draw_grids(study: TaskStudy, name: str) -> HeatMaps:
    """The heat maps of a task's nets, in their order."""
    grids = {net.model: (net, grid) for net in study.nets if (grid := make_grid(net))}
    if not grids:
        return HeatMaps((), 0.0)
    finite = np.concatenate([g.values[np.isfinite(g.values)] for _, g in grids.values()])
    most = float(finite.max())
    maps = tuple(
        _draw(net, grid, name=f"{name}-{place}", limits=(0.0, most))
        for place, (net, grid) in enumerate(grids.values())
    )
    return HeatMaps(maps, most)


def _draw(net: NetStudy, grid: Grid, *, name: str, limits: tuple[float, float]) -> str:
    chosen = net.chosen
    assert chosen is not None
    assert chosen.score is not None
    dropout, rate = chosen.value(DROPOUT), chosen.value(LEARNING_RATE)
    assert dropout is not None
    assert rate is not None
    return draw_heat_map(
        grid.values,
        [f"{value:g}" for value in grid.dropouts],
        [f"{value:g}" for value in grid.learning_rates],
        name=name,
        title=f"{net.model}, validation: {chosen.score.name}",
        axes_names=("dropout", "learning rate"),
        limits=limits,
        chosen=(grid.dropouts.index(dropout), grid.learning_rates.index(rate)),
    )
