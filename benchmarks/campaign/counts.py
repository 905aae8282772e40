"""How many tries of a part of the campaign ended in which way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RIGHT, ONE_MESSAGE, UNCLEAR = "right", "one message", "unclear"
SILENT, TRACEBACK, HANG = "silent", "traceback", "hang"
ENDINGS = (RIGHT, ONE_MESSAGE, UNCLEAR, SILENT, TRACEBACK, HANG)
"""`right`: the work was done, as it should be. `one message`: refused, as it should be, in one
message that leaves nothing behind. `unclear`: refused in another way, or what was right. `silent`:
wrong input was taken."""
GOOD = (RIGHT, ONE_MESSAGE)


@dataclass(frozen=True)
class Try:
    """One try: what was done, how it ended, and what was seen."""

    what: str
    ending: str
    seen: str = ""

    def __post_init__(self) -> None:
        assert self.ending in ENDINGS


@dataclass(frozen=True)
class Counts:
    """The tries of a part."""

    part: str
    tries: tuple[Try, ...]

    def count(self, ending: str) -> int:
        return sum(found.ending == ending for found in self.tries)

    @property
    def bad(self) -> tuple[Try, ...]:
        """The tries that ended as none may."""
        return tuple(found for found in self.tries if found.ending not in GOOD)


def write_table(parts: Iterable[Counts]) -> str:
    """A line for each part: its tries, and how many ended in each way."""
    rows: list[tuple[str, ...]] = [("part", "tries", *ENDINGS)]
    for counts in parts:
        numbers = (len(counts.tries), *(counts.count(ending) for ending in ENDINGS))
        rows.append((counts.part, *map(str, numbers)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
