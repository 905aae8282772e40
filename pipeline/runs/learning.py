"""How a net is trained, as far as it decides what is learned; each section checks itself once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.choices import check_choice
from pipeline.fields import hold_fields, write_value

OPTIMIZERS = ("rmsprop", "sgd", "adam")
# As Lightning names them, by their short names too.
PRECISIONS = (
    "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true", 32, 16, 64,
    "32", "16", "bf16", "64",
)  # fmt: skip


@dataclass(frozen=True)
class OptimizerSpec:
    """Which optimizer, and how gradients are clipped (`clip` and `clip_by` None: not at all).

    `decay` is of RMSprop's running mean of squared gradients, None for the others.
    """

    name: str
    lr: float
    clip: float | None
    clip_by: Literal["norm", "value"] | None
    decay: float | None = None

    def __post_init__(self) -> None:
        hold_fields(self, "optimizer")
        check_choice("optimizer.name", self.name, OPTIMIZERS)
        self._check_clip_by()
        for name, number in (("lr", self.lr), ("clip", self.clip)):
            if number is not None and number <= 0:
                raise ValueError(f"optimizer.{name}: expected a number above 0, found {number}.")
        self._check_decay()

    def _check_decay(self) -> None:
        if (self.name == "rmsprop") != (self.decay is not None):
            raise ValueError(
                f"optimizer.decay: expected a number for rmsprop and for no other optimizer, "
                f"found {write_value(self.decay)} for {self.name}."
            )
        if self.decay is not None and not 0 <= self.decay < 1:
            raise ValueError(f"optimizer.decay: expected 0 <= decay < 1, found {self.decay}.")

    def _check_clip_by(self) -> None:
        if self.clip is not None:
            check_choice("optimizer.clip_by", self.clip_by, ("norm", "value"))
        elif self.clip_by is not None:
            raise ValueError(
                f"optimizer.clip_by is {self.clip_by!r}, which has no effect: optimizer.clip is "
                f"null, so that gradients are not clipped. Leave it out, or pass optimizer.clip=10."
            )


@dataclass(frozen=True)
class ScheduleSpec:
    """Phases of training: between two the learning rate is multiplied by `cooling`.

    With one phase there is none: None.
    """

    phase_epochs: tuple[int, ...]
    cooling: float | None
    epoch_share: float = 1.0
    """The share of the batches that an epoch takes: below 1 only in trials."""

    def __post_init__(self) -> None:
        hold_fields(self, "schedule")
        if not self.phase_epochs or any(epochs < 1 for epochs in self.phase_epochs):
            raise ValueError(
                f"schedule.phase_epochs: expected a list of epochs, each 1 or more, "
                f"found {list(self.phase_epochs)}."
            )
        self._check_cooling()

    def _check_cooling(self) -> None:
        if len(self.phase_epochs) > 1:
            if self.cooling is None or not 0 < self.cooling <= 1:
                raise ValueError(
                    f"schedule.cooling: expected a factor in (0, 1], found {self.cooling}."
                )
        elif self.cooling is not None:
            raise ValueError(
                f"schedule.cooling is {self.cooling}, which has no effect with the one phase of "
                f"schedule.phase_epochs={list(self.phase_epochs)}: the learning rate is cooled "
                f"between two.\nLeave it out, or pass more phases."
            )

    @property
    def num_epochs(self) -> int:
        return sum(self.phase_epochs)

    def scaled(self, budget: float) -> ScheduleSpec:
        """The schedule of a trial with `budget` of the updates: fewer epochs, then shorter ones."""
        if not 0 < budget <= 1:
            raise ValueError(f"budget: expected a share in (0, 1], found {budget}.")
        epochs = tuple(max(1, round(budget * epochs)) for epochs in self.phase_epochs)
        share = min(1.0, budget * self.num_epochs / sum(epochs))
        return ScheduleSpec(epochs, self.cooling, share)


@dataclass(frozen=True)
class BatchSpec:
    """What an update sees, in which arithmetic, and the epoch whose weights are kept.

    `precision` as Lightning names it. `keep`: the weights of the epoch with the best validation
    loss, or the last.
    """

    batch_size: int
    loss_over_batch: Literal["mean", "sum"]
    keep: str
    precision: str | int

    def __post_init__(self) -> None:
        hold_fields(self, "trainer")
        if self.batch_size < 1:
            raise ValueError(f"trainer.batch_size: expected 1 or more, found {self.batch_size}.")
        check_choice("trainer.loss_over_batch", self.loss_over_batch, ("mean", "sum"))
        check_choice("trainer.keep", self.keep, ("best", "last"))
        check_choice("trainer.precision", self.precision, PRECISIONS)
