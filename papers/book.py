"""The forms in which a paper is written down: protocols, trials, printed numbers, claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from typing import Protocol as Interface

from papers.verdicts import Quantity

Source = Literal["printed", "second-hand", "unverified"]
"""How surely we know it: read in the paper; told by others; told by others without a source."""


@dataclass(frozen=True)
class Protocol:
    """How an experiment is trained; its other settings are the program's defaults.

    `net`: the one it is for, or "" where any can follow. `number`: what a number at the end of an
    experiment's name says, the sequences' length or the epochs in all. `best_of_net`: settings
    (lr, dropout) of single nets, in place of the protocol's own. `more`: other settings, by the
    sections of the config. `worst`: the score of a run that diverged, 0 of a share.
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
    more: Mapping[str, Mapping[str, str | float]] = field(default_factory=dict)
    worst: float = 0.0

    def setting(self, name: Literal["lr", "dropout"], net: str) -> float:
        """The learning rate or dropout that the protocol has for this net."""
        own: float = getattr(self, name)
        return self.best_of_net.get(net, {}).get(name, own)


@dataclass(frozen=True)
class Trial:
    """A bar or a row of a paper: what is trained once for each seed.

    `protocol` is a key of PROTOCOLS; `number` its length or epochs, None where it has none.
    `settings` are what else `python -m train` is given.
    """

    protocol: str
    net: str
    number: int | None = None
    settings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The long name of its experiment: `addition-np-rnn-150`."""
        is_told = self.protocol.endswith(f"-{self.net}") or f"model={self.net}" in self.settings
        net = "" if is_told else f"-{self.net}"
        return self.protocol + net + (f"-{self.number}" if self.number is not None else "")


@dataclass(frozen=True)
class Reading:
    """A way to read what a paper leaves open, other than the default one.

    `name` is for tables, `title` says it in full. It changes trials of `protocols`: their nets by
    `nets`, and adds `settings` for the nets that these act on, all but those of `without`.
    """

    name: str
    title: str
    protocols: tuple[str, ...]
    settings: tuple[str, ...] = ()
    nets: Mapping[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()

    def apply(self, trial: Trial) -> Trial:
        """The trial under this reading: itself where the reading changes nothing."""
        if trial.protocol not in self.protocols or trial.net in self.without:
            return trial
        net = self.nets.get(trial.net, trial.net)
        is_fixed = net != trial.net and trial.protocol.endswith(f"-{trial.net}")
        settings = (*trial.settings, *([f"model={net}"] if is_fixed else []), *self.settings)
        return Trial(trial.protocol, net, trial.number, settings)


@dataclass(frozen=True)
class Experiment:
    """A figure or table of a paper: what it shows, and the trials that make it.

    One of ours, beside the paper's (`is_ours`), is run under the default reading alone; a search
    takes a share of the training, its `budget`.
    """

    title: str
    trials: tuple[Trial, ...]
    budget: float = 1.0
    is_ours: bool = False

    def share(self, budget: float) -> float:
        """The share of the training that its trials take of a budget, as it is written."""
        return float(f"{self.budget * budget:g}")


class Scores(Interface):
    """What was found of trials; seeds that diverged count with their protocol's worst score."""

    def test(self, trial: Trial) -> Mapping[int, float]:
        """The test score of each seed; {} where there is none."""

    def validation(self, trial: Trial) -> Mapping[int, float]:
        """The validation score of each seed; {} where there is none."""


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

    @property
    def accuracy(self) -> float | None:
        """Of the test part, where it is one or can be made one."""
        if self.test is None or self.unit == "perplexity":
            return None
        return self.test if self.unit == "accuracy" else 1 - self.test


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper and where it stands.

    `holds` says of a number or an array, which the claim's table names, whether it bears the
    sentence out; `measure` makes of scores the quantities that must all bear it out. None where no
    number can. `readings` are those that could decide otherwise.
    """

    text: str
    place: str
    holds: Callable[[Any], bool] | None = None
    source: Source = "printed"
    measure: Callable[[Scores], Sequence[Quantity]] | None = None
    readings: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        return f"{self.text} ({self.place})"


def within(low: float, high: float) -> Callable[[float], bool]:
    """Whether a number lies in [low, high]."""
    return lambda value: bool(low <= value <= high)
