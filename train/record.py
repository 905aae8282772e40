"""What a run's provenance says of a training that begins, or goes on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from pipeline.places import Place
from pipeline.recurrent.classifier import SequenceNet, num_parameters
from pipeline.recurrent.counts import multiply_adds_per_step
from pipeline.runs import Provenance, Session, describe_session, is_run, load_run
from pipeline.tasks import Task
from train.checkpoints import read_checkpoint
from train.training import Training

_PARTS = ("train", "val")


def describe_training(
    training: Training,
    net: SequenceNet,
    folder: Path,
    *,
    device: torch.device,
    checkpoint: Path | None,
) -> Provenance:
    """The provenance of the run in `folder`, with the session that begins at `checkpoint`."""
    task = training.task
    first_epoch = 0 if checkpoint is None else int(read_checkpoint(checkpoint)["epoch"]) + 1
    session = describe_session(
        first_epoch=first_epoch,
        device=_name_device(device),
        compute={key: str(value) for key, value in asdict(training.compute).items()},
    )
    return Provenance(
        num_parameters=num_parameters(net),
        multiply_adds_per_step=multiply_adds_per_step(training.config.net),
        use={part: _count_use(task, part) for part in _PARTS},
        sources=_list_sources(task),
        places={
            name: Place.of(path, folder, digest=digest)
            for name, (path, digest) in task.places().items()
        },
        sessions=(*_earlier_sessions(folder, first_epoch), session),
    )


def _earlier_sessions(folder: Path, first_epoch: int) -> tuple[Session, ...]:
    """The sessions whose epochs are kept: one that ended before its first whole epoch is not."""
    if not is_run(folder):
        return ()
    sessions = load_run(folder).provenance.sessions
    return tuple(session for session in sessions if session.first_epoch < first_epoch)


def _name_device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return str(device)


def _count_use(task: Task, part: str) -> dict[str, int]:
    use = task.use(part)
    return {
        "listed": use.num_listed, "used": len(use.used), "missing": len(use.missing),
        "truncated": len(use.truncated), "damaged": len(use.damaged),
    }  # fmt: skip


def _list_sources(task: Task) -> dict[str, tuple[str, ...]]:
    """The sources of clips; those of other sequences are their numbers."""
    if task.origin.features is None:
        return {}
    return {part: tuple(sorted(set(task.sources(part)))) for part in _PARTS}
