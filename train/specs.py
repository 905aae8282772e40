"""The sections of the config that only training needs, each checked once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from pipeline.choices import check_choice

OPTIMIZERS = ("rmsprop", "sgd", "adam")


@dataclass(frozen=True)
class OptimizerSpec:
    """Which optimizer, and how gradients are clipped (`clip` None: not at all)."""

    name: str
    lr: float
    clip: float | None
    clip_by: Literal["norm", "value"]
    decay: float | None = None

    def __post_init__(self) -> None:
        check_choice("optimizer.name", self.name, OPTIMIZERS)
        check_choice("optimizer.clip_by", self.clip_by, ("norm", "value"))
        for name, number in (("lr", self.lr), ("clip", self.clip)):
            if number is not None and not (math.isfinite(number) and number > 0):
                raise ValueError(f"optimizer.{name}: expected a number above 0, found {number}.")
        if self.decay is not None and not 0 <= self.decay < 1:
            raise ValueError(f"optimizer.decay: expected 0 <= decay < 1, found {self.decay}.")

    def make(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""
        if self.name == "sgd":
            return torch.optim.SGD(parameters, lr=self.lr)
        if self.name == "adam":
            return torch.optim.Adam(parameters, lr=self.lr)
        assert self.decay is not None
        return torch.optim.RMSprop(parameters, lr=self.lr, alpha=self.decay)


@dataclass(frozen=True)
class ScheduleSpec:
    """Phases of training: between two the learning rate is multiplied by `cooling`."""

    phase_epochs: tuple[int, ...]
    cooling: float
    epoch_share: float = 1.0
    """The share of the batches that an epoch takes: below 1 only in trials."""

    def __post_init__(self) -> None:
        if not self.phase_epochs or any(epochs < 1 for epochs in self.phase_epochs):
            raise ValueError(
                f"schedule.phase_epochs: expected a list of epochs, each 1 or more, "
                f"found {list(self.phase_epochs)}."
            )
        if not 0 < self.cooling <= 1:
            raise ValueError(
                f"schedule.cooling: expected a factor in (0, 1], found {self.cooling}."
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

    def make(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """The scheduler, to be stepped once an epoch."""
        ends = [sum(self.phase_epochs[: i + 1]) for i in range(len(self.phase_epochs) - 1)]
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=ends, gamma=self.cooling)


@dataclass(frozen=True)
class TrainerSpec:
    """Batches and hardware; the last four are Lightning's own arguments."""

    batch_size: int
    loss_over_batch: Literal["mean", "sum"]
    keep: str
    num_workers: int
    updates_per_step: int | str
    accelerator: str
    devices: Any
    strategy: str
    precision: str

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"trainer.batch_size: expected 1 or more, found {self.batch_size}.")
        check_choice("trainer.loss_over_batch", self.loss_over_batch, ("mean", "sum"))
        check_choice("trainer.keep", self.keep, ("best", "last"))
        if not isinstance(self.num_workers, int) or self.num_workers < 0:
            raise ValueError(f"trainer.num_workers: expected 0 or more, found {self.num_workers}.")
        if self.updates_per_step != "auto" and not isinstance(self.updates_per_step, int):
            raise ValueError(
                f"trainer.updates_per_step: expected a number or auto, "
                f"found {self.updates_per_step!r}."
            )
        if self.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
            raise ValueError(
                f"trainer.accelerator={self.accelerator}, but PyTorch finds no CUDA device.\n"
                f"Pass trainer.accelerator=cpu, or install a driver and a CUDA build of PyTorch."
            )
