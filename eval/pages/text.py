"""Words and tables for people: counts, durations, paths, aligned columns."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def write_count(num: int | None) -> str:
    return "" if num is None else f"{num:,}"


def write_seconds(seconds: float | None) -> str:
    """A duration for people: `8.4 s`, `12 min 5 s`, `3 h 20 min`."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def write_percent(share: float) -> str:
    """`53 %`; `under 1 %` and `over 99 %` for what is neither none nor all but rounds to it."""
    percent = f"{100 * share:.0f} %"
    if percent == "0 %" and share > 0:
        return "under 1 %"
    return "over 99 %" if percent == "100 %" and share < 1 else percent


def show_path(path: Path) -> str:
    """The path as it can be printed: whatever bytes the name holds, in one line."""
    text = os.fsencode(path).decode("utf-8", errors="replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def align(table: Sequence[Sequence[str]], to_right: Sequence[bool]) -> list[str]:
    """The lines of a table whose first line is the header, with a rule below it."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_right, strict=False)
        ).rstrip()
        for line in table
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
