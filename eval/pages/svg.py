"""Pictures as inline SVG. The only home of matplotlib's drawing.

Ink takes the colour of the text around the picture, so that it reads on a light and a dark page.
Every picture has a `name`, unlike that of any other on its page.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

INK = "#010203"  # stands for the page's text colour
ACCENT = "#3b7dd8"
COLOURS = ("#3b7dd8", "#d9822b", "#2f9e6e", "#b65fcf", "#c94f4f", "#8a8f98")
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "eval",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def set_log_scale(axes: Axes) -> None:
    """Powers of ten up the axis, written as text: matplotlib's own are set as mathematics."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def make_axes(width_inches: float, height_inches: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure, name: str, description: str) -> str:
    """An <svg> element that says what it is, with ids that start with `name`, and no address."""
    stream = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    svg = text[text.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
