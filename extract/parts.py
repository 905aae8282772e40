"""A part of an extraction: its share of the shards, for one process of many."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extract.plan import Shard


@dataclass(frozen=True)
class Part:
    """The part `number`, from 1, of `total`."""

    number: int
    total: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.total:
            raise ValueError(f"expected a part from 1 to {self.total}, found {self.number}.")

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def choose(self, shards: Iterable[Shard]) -> tuple[Shard, ...]:
        """Those of the shards that are this part's: every shard is one part's of those of a total.

        By their numbers in the plan, so that it matters to none when the others begin.
        """
        return tuple(s for s in shards if s.number % self.total + 1 == self.number)


def read_part(text: str) -> Part:
    """The part that `2/16` names: the second of 16. ValueError for what names none."""
    number, slash, total = text.partition("/")
    if not slash or not (_is_number(number) and _is_number(total)) or not int(total):
        raise ValueError(f"expected K/N, such as 2/16 for the second of 16 parts, found {text!r}.")
    return Part(int(number), int(total))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
