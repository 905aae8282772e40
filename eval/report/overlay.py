"""The learning curves of several nets in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import matplotlib as mpl
from matplotlib.ticker import MaxNLocator

from eval.pages.svg import COLOURS, INK, STYLE, make_axes, set_log_scale, to_svg
from eval.report.curves import Curve, read_curves
from eval.scores.rows import Result, Row

MOST_ROWS = 8
_LOSS = "val_loss"
_LOG_FROM = 30  # the ratio of losses from which the scale is logarithmic
_DASHES = ("-", "--", ":")


@dataclass(frozen=True)
class Learning:
    """A run's validation loss by epoch, the epoch whose weights are kept, those before a cooling.

    Epochs count from 0, as in the log.
    """

    losses: Curve
    kept: tuple[float, float] | None
    coolings: tuple[int, ...]


def read_learning(result: Result) -> Learning | None:
    """How a run learned; None without a log of its validation loss."""
    losses = read_curves(result.folder).get(_LOSS, ())
    if not losses or result.config is None:
        return None
    best = min(losses, key=lambda point: point[1])  # the first, as in training
    phases = result.config.schedule.scaled(result.config.budget).phase_epochs
    coolings = tuple(sum(phases[: place + 1]) for place in range(len(phases) - 1))
    return Learning(losses, best if result.config.batch.keep == "best" else losses[-1], coolings)


def draw_learning(rows: Sequence[Row], name: str) -> str:
    """The validation losses of the first MOST_ROWS rows, a line for each run; "" without any.

    A dot is the kept epoch, a dotted line a cooling of the learning rate.
    """
    known = [
        (row.name, [run for run in map(read_learning, row.results) if run is not None])
        for row in rows[:MOST_ROWS]
    ]
    known = [(label, runs) for label, runs in known if runs]
    if not known:
        return ""
    with mpl.rc_context(STYLE):
        figure, axes = make_axes(6.0, 3.6)
        for place, ((label, runs), colour) in enumerate(zip(known, cycle(COLOURS), strict=False)):
            for seed, run in enumerate(runs):
                epochs, losses = zip(*run.losses, strict=True)
                axes.plot(
                    epochs, losses, color=colour, linewidth=1.5, alpha=0.85,
                    linestyle=_DASHES[place // len(COLOURS)], label=label if seed == 0 else None,
                )  # fmt: skip
                if run.kept is not None:
                    axes.plot(*run.kept, "o", color=colour, markersize=6, clip_on=False)
        for epoch in sorted({epoch for _, runs in known for run in runs for epoch in run.coolings}):
            axes.axvline(epoch, color=INK, linestyle=":", linewidth=1)
        values = [loss for _, runs in known for run in runs for _, loss in run.losses]
        if max(values) > _LOG_FROM * min(values) > 0:
            set_log_scale(axes)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        return to_svg(figure, name, f"Validation loss by epoch. {_describe(known)}")


def _describe(known: Sequence[tuple[str, Sequence[Learning]]]) -> str:
    told = [
        f"{label}: "
        + ", ".join(f"kept {r.kept[1]:.3g} of epoch {r.kept[0]:.0f}" for r in runs if r.kept)
        for label, runs in known
    ]
    return "; ".join(told) + "."
