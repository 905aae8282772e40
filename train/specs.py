"""How a training is computed, which changes nothing of what is learned; and torch's optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pipeline.runs import OptimizerSpec, ScheduleSpec
from train.devices import (
    check_strategy,
    count_devices,
    find_accelerator,
    find_devices,
    find_num_nodes,
)


@dataclass(frozen=True)
class ComputeSpec:
    """Loading processes, updates in a call of the kernel, and the devices, as the config has them.

    A training runs in one process for each device of each node.
    """

    num_workers: int
    updates_per_step: int | str
    accelerator: str
    devices: Any
    num_nodes: int | str
    strategy: str

    def __post_init__(self) -> None:
        if not isinstance(self.num_workers, int) or self.num_workers < 0:
            raise ValueError(f"trainer.num_workers: expected 0 or more, found {self.num_workers}.")
        if self.updates_per_step != "auto" and not isinstance(self.updates_per_step, int):
            raise ValueError(
                f"trainer.updates_per_step: expected a number or auto, "
                f"found {self.updates_per_step!r}."
            )
        check_strategy(self.strategy, self.found_accelerator)
        assert self.num_processes >= 1  # else it was refused

    @property
    def found_accelerator(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return find_accelerator(self.accelerator)

    @property
    def found_devices(self) -> int | list[int]:
        """How many devices of each node, or their numbers."""
        return find_devices(self.devices, self.found_accelerator)

    @property
    def found_num_nodes(self) -> int:
        """The number of machines."""
        return find_num_nodes(self.num_nodes)

    @property
    def num_processes(self) -> int:
        """The number of processes that train together."""
        return count_devices(self.found_devices) * self.found_num_nodes


def make_optimizer(
    spec: OptimizerSpec, parameters: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer of these parameters."""
    if spec.name == "sgd":
        return torch.optim.SGD(parameters, lr=spec.lr)
    if spec.name == "adam":
        return torch.optim.Adam(parameters, lr=spec.lr)
    assert spec.decay is not None
    return torch.optim.RMSprop(parameters, lr=spec.lr, alpha=spec.decay)


def make_scheduler(
    spec: ScheduleSpec, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LRScheduler:
    """The scheduler, to be stepped once an epoch."""
    ends = [sum(spec.phase_epochs[: i + 1]) for i in range(len(spec.phase_epochs) - 1)]
    gamma = 1.0 if spec.cooling is None else spec.cooling
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=ends, gamma=gamma)
