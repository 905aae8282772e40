"""torch's optimizers and schedulers, as a run's config says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from pipeline.runs import OptimizerSpec, ScheduleSpec


def make_optimizer(
    spec: OptimizerSpec, parameters: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimizer of these parameters."""
    if spec.name == "sgd":
        return torch.optim.SGD(parameters, lr=spec.lr)
    # The others take square roots. MKL 2024's first ones may be of low precision where two threads
    # ask for them at once (PyTorch's issue 188792): so one thread asks first.
    torch.ones(1, dtype=parameters[0].dtype).sqrt()
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
