"""torch's optimizers and schedulers, as a run's config says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pipeline.recurrent.updated import NetWeights, Optimizer
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


def share_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> Optimizer:
    """The optimizer for the kernel, which keeps its state in the tensors of this one.

    `parameters`: those of NetWeights, by its names. A parameter without a state is given the one
    that torch's own first step would begin with.
    """
    (group,) = optimizer.param_groups
    kept = _list_kept(optimizer)
    if not kept:
        return Optimizer("sgd", group["lr"])
    for parameter in parameters.values():
        if not optimizer.state[parameter]:
            zeros = {name: torch.zeros_like(parameter) for name in kept}
            optimizer.state[parameter] = {"step": torch.tensor(0.0), **zeros}
    states = {name: optimizer.state[parameter] for name, parameter in parameters.items()}
    (num_before,) = {int(state["step"]) for state in states.values()}
    of_kept = [NetWeights(**{n: state[k] for n, state in states.items()}) for k in kept]
    return _with_rates(optimizer, group, num_before=num_before, kept=of_kept)


def count_steps(optimizer: torch.optim.Optimizer, num: int) -> None:
    """Say in the optimizer's state that the kernel made `num` steps of it."""
    for state in optimizer.state.values():
        if "step" in state:
            state["step"] += num


def _list_kept(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """The names of the running means in a parameter's state."""
    if isinstance(optimizer, torch.optim.RMSprop):
        return ("square_avg",)
    return ("exp_avg_sq", "exp_avg") if isinstance(optimizer, torch.optim.Adam) else ()


def _with_rates(
    optimizer: torch.optim.Optimizer,
    group: Mapping[str, Any],
    *,
    num_before: int,
    kept: Sequence[NetWeights],
) -> Optimizer:
    if isinstance(optimizer, torch.optim.RMSprop):
        return Optimizer(
            "rmsprop", group["lr"], decay=group["alpha"], epsilon=group["eps"],
            num_before=num_before, squares=kept[0],
        )  # fmt: skip
    mean_decay, decay = group["betas"]
    return Optimizer(
        "adam", group["lr"], decay=decay, mean_decay=mean_decay, epsilon=group["eps"],
        num_before=num_before, squares=kept[0], means=kept[1],
    )  # fmt: skip
