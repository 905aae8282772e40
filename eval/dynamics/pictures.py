"""Pictures of a run's dynamics, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from eval.dynamics.dynamics import Moment
from eval.dynamics.measures import PHASE_CASES
from eval.pages.svg import ACCENT, COLOURS, INK, STYLE, make_axes, set_log_scale, to_svg

_MOST = 1.6  # of a state in a phase portrait; a diverging one leaves the picture
_LOG_RANGE = (1e-200, 1e200)  # with margins and ticks still floats
_FORBIDDEN = "#d9822b"


def draw_spectra(moments: Sequence[Moment], name: str) -> str:
    """The eigenvalues in the complex plane with the unit circle, one panel a moment."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.9 * len(moments), 3.9), layout="constrained")
        panels = figure.subplots(1, len(moments), squeeze=False, sharex=True, sharey=True)[0]
        # One reach for all panels, or a spectrum that grew looks as it did at the start.
        largest = [float(abs(m.eigenvalues).max()) for m in moments if m.eigenvalues is not None]
        reach = 1.1 * max(1.0, *largest)
        for axes, moment, colour in zip(panels, moments, COLOURS, strict=False):
            values = moment.eigenvalues
            assert values is not None
            axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, linewidth=1, alpha=0.6))
            axes.plot(values.real, values.imag, ".", color=colour, markersize=6, alpha=0.7)
            axes.set_xlim(-reach, reach)
            axes.set_ylim(-reach, reach)
            axes.set_aspect("equal")
            axes.set_xlabel("real")
            axes.set_title(moment.when, fontsize=10)
        panels[0].set_ylabel("imaginary")
        text = "; ".join(
            f"{moment.title}: {len(moment.eigenvalues)} eigenvalues, the largest "
            f"{abs(moment.eigenvalues[0]):.3g} in modulus"
            for moment in moments
            if moment.eigenvalues is not None
        )
        return to_svg(figure, name, f"Spectrum in the complex plane. {text}.")


def draw_lines(
    lines: Sequence[tuple[str, NDArray[np.float64] | None]],
    name: str,
    *,
    axes_names: tuple[str, str],
    log: bool,
) -> str:
    """Lines over steps, with a legend; those that are None are left out, "" if all are.

    In a `log` picture numbers outside _LOG_RANGE have no point.
    """
    drawn = [(label, values) for label, values in lines if values is not None]
    if not drawn:
        return ""
    with mpl.rc_context(STYLE):
        figure, axes = make_axes(6.4, 3.4)
        for place, (label, values) in enumerate(drawn):
            low, high = _LOG_RANGE if log else (-np.inf, np.inf)
            is_shown = np.isfinite(values) & (values >= low) & (values <= high)
            axes.plot(
                np.flatnonzero(is_shown), values[is_shown], label=label, linewidth=1.7,
                color=COLOURS[place % 2], linestyle="-" if place < 2 else "--",
            )  # fmt: skip
        if log and any((values > 0).any() for _, values in drawn):
            set_log_scale(axes)
        if not log:
            axes.set_ylim(0, 1)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        axes.legend()
        labels = ", ".join(label for label, _ in drawn)
        return to_svg(figure, name, f"{axes_names[1]} against {axes_names[0]}: {labels}.")


def draw_portraits(portraits: Mapping[str, NDArray[np.float64]], name: str) -> str:
    """Figure 2 of the paper: trajectories of two units for each case, a dot at each end."""
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(7.4, 7.4), layout="constrained")
        panels = figure.subplots(2, 2).ravel()
        for letter, axes, (case, path) in zip("abcd", panels, portraits.items(), strict=True):
            _draw_portrait(axes, path)
            first, second = PHASE_CASES[case]
            axes.set_title(f"({letter}) {case}: λ = {first:g}, {second:g}", fontsize=10)
        text = ", ".join(portraits)
        return to_svg(
            figure, name, f"Four phase portraits of two ReLU units without input: {text}."
        )


def _draw_portrait(axes: Axes, path: NDArray[np.float64]) -> None:
    axes.axvspan(-0.25, 0, color=_FORBIDDEN, alpha=0.25, linewidth=0)
    axes.axhspan(-0.25, 0, color=_FORBIDDEN, alpha=0.25, linewidth=0)
    for place in range(path.shape[1]):
        x, y = path[:, place, 0], path[:, place, 1]
        axes.plot(x, y, "-", color=ACCENT, linewidth=1, alpha=0.7)
        axes.plot(x[:6], y[:6], ".", color=ACCENT, markersize=3)
        axes.plot(x[0], y[0], "o", color=ACCENT, markersize=4, markerfacecolor="none")
        axes.plot(x[-1], y[-1], "o", color=ACCENT, markersize=5)
    axes.set_xlim(-0.25, _MOST)
    axes.set_ylim(-0.25, _MOST)
    axes.set_aspect("equal")
    axes.set_xlabel("h of unit 1")
    axes.set_ylabel("h of unit 2")
