"""What every task tells the trainer and the evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # names and options of tasks are read without torch
    from pipeline.sequences import SequenceSet

CLASSIFICATION = "classification"
REGRESSION = "regression"
NOT_SCORED = -100
"""The target of a step whose answer does not count; PyTorch's cross entropy leaves it out."""


@dataclass(frozen=True)
class PartUse:
    """How much of a part of a split is there: ids of clips, or the numbers of other sequences."""

    num_listed: int
    used: tuple[str, ...]
    missing: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()
    """Clips used although fewer frames were decoded than the file's header says."""

    def __str__(self) -> str:
        text = f"{len(self.used)} of {self.num_listed} sequences"
        return text + (f", {len(self.truncated)} truncated" if self.truncated else "")


class Task(Protocol):
    """Sequences with targets, in three parts."""

    @property
    def kind(self) -> str:
        """What the targets are.

        CLASSIFICATION: classes, (B,) int64, or (B, T) for an answer at every step, NOT_SCORED at
        those that do not count; REGRESSION: numbers, (B, C) float32.
        """

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the outputs; () for a regression."""

    @property
    def input_size(self) -> int:
        """D, the numbers of a step."""

    @property
    def num_outputs(self) -> int:
        """C, the numbers of an answer."""

    def sequences(self, part: str) -> SequenceSet:
        """The sequences of `train`, `val` or `test`."""

    def use(self, part: str) -> PartUse:
        """What of the part is there; `used` names the sequences in their order."""

    def sources(self, part: str) -> Sequence[str]:
        """For every sequence what it was cut from: those of one source are not independent."""

    def provenance(self) -> Mapping[str, Any]:
        """What the sequences were made with, for a run's provenance."""

    def check_provenance(self, provenance: Mapping[str, Any]) -> None:
        """Raise ValueError unless these sequences are of the kind a run was trained on."""
