"""What the toy tasks share: sequences that are independent and have numbers for names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from pipeline.sequences import SequenceSet
from pipeline.tasks.task import Origin, PartUse


@dataclass(frozen=True)
class NumberedTask:
    """A Task whose parts are `make(part)`, with `sizes[part]` sequences, each its own source.

    `origin` says what makes the sequences beside the task's options, with whole numbers and text.
    """

    kind: str
    labels: tuple[str, ...]
    input_size: int
    num_outputs: int
    sizes: Mapping[str, int]
    make: Callable[[str], SequenceSet]
    origin: Origin
    root: Path | None = None
    """The folder they are read from; None where they are made."""

    def sequences(self, part: str) -> SequenceSet:
        return self.make(part)

    def use(self, part: str) -> PartUse:
        return PartUse(self.sizes[part], self._ids(part))

    def sources(self, part: str) -> Sequence[str]:
        return self._ids(part)

    def _ids(self, part: str) -> tuple[str, ...]:
        return tuple(f"{number:05d}" for number in range(self.sizes[part]))

    def places(self) -> Mapping[str, tuple[Path, str]]:
        return {} if self.root is None else {"root": (self.root, "")}

    def kept(self) -> Mapping[str, str]:
        return {}


class NumberNames(Sequence[str]):
    """The numbers from 0 to `num` - 1 as names, made when they are asked for."""

    def __init__(self, num: int) -> None:
        self._num = num

    def __len__(self) -> int:
        return self._num

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...

    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [f"{number:05d}" for number in range(self._num)[place]]
        return f"{range(self._num)[place]:05d}"


def hold_out(total: int, **held: int) -> dict[str, int]:
    """Sizes of train, which may not be empty, and of the parts held out of `total` sequences."""
    if sum(held.values()) >= total:
        names = " and ".join(f"task.num_{part}" for part in held)
        raise ValueError(
            f"{names}: expected fewer than the {total} sequences there are, "
            f"found {sum(held.values())}."
        )
    return {"train": total - sum(held.values()), **held}
