"""The forms in which a paper is written down: protocols, printed numbers, claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Source = Literal["printed", "second-hand", "unverified"]
"""How surely we know it: read in the paper; told by others; told by others without a source."""


@dataclass(frozen=True)
class Protocol:
    """How an experiment is trained; its other settings are the program's defaults.

    `net`: the one it is for, or "" where any can follow. `number`: what a number at the end of an
    experiment's name says, the sequences' length or the epochs in all. `best_of_net`: settings
    (lr, dropout) of single nets, in place of the protocol's own.
    """

    task: str
    optimizer: str
    lr: float
    phase_epochs: tuple[int, ...]
    batch_size: int
    dropout: float = 0.0
    clip: float = 10.0
    loss_over_batch: Literal["mean", "sum"] = "sum"
    keep: Literal["best", "last"] = "last"
    split: str = ""
    net: str = ""
    number: Literal["", "length", "epochs"] = ""
    best_of_net: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def setting(self, name: Literal["lr", "dropout"], net: str) -> float:
        """The learning rate or dropout that the protocol has for this net."""
        own: float = getattr(self, name)
        return self.best_of_net.get(net, {}).get(name, own)


@dataclass(frozen=True)
class Printed:
    """What a paper shows of an experiment: `place` is a table or figure, a bar has no numbers.

    `validation` and `test` are in `unit`.
    """

    place: str
    test: float | None = None
    validation: float | None = None
    unit: Literal["accuracy", "error", "perplexity"] = "accuracy"
    source: Source = "printed"


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and where it stands.

    `holds` says of a number or an array, which the claim's table names, whether it bears the
    sentence out; None where no number can.
    """

    text: str
    place: str
    holds: Callable[[Any], bool] | None = None
    source: Source = "printed"

    @property
    def sentence(self) -> str:
        return f"{self.text} ({self.place})"


def within(low: float, high: float) -> Callable[[float], bool]:
    """Whether a number lies in [low, high]."""
    return lambda value: bool(low <= value <= high)
