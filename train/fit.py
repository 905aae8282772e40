"""One training: from a resolved config to a complete run folder."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from pipeline.files import write_text
from pipeline.recurrent.classifier import SequenceNet, build_net, num_parameters
from pipeline.recurrent.spec import NetSpec, multiply_adds_per_step
from pipeline.runs import (
    DIVERGED,
    describe_provenance,
    load_run,
    net_section,
    save_weights,
    write_config,
)
from pipeline.sequences import SequenceBatch, SequenceSet, make_loader
from pipeline.tasks import CLASSIFICATION, Task, make_task
from train.blocks import choose_updates_per_step
from train.callbacks import EpochLines, EpochLog, count_seconds
from train.module import DivergedError, SequenceModule
from train.specs import OptimizerSpec, ScheduleSpec, TrainerSpec

_VAL_BATCH_SIZE = 256


@dataclass(frozen=True)
class Training:
    """One training, with every section of its config checked."""

    config: Mapping[str, Any]
    task: Task
    net: NetSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    trainer: TrainerSpec

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def resolved(self) -> dict[str, Any]:
        """What config.yaml holds: the sections that were chosen, and what follows from the task."""
        names = ("seed", "budget", "task", "model", "optimizer", "schedule", "trainer")
        chosen = {name: self.config[name] for name in names}
        return {**chosen, "net": net_section(self.net), "labels": list(self.task.labels)}


def check_config(config: Mapping[str, Any]) -> Training:
    """The training that a config asks for; ValueError for what cannot be done."""
    task = make_task(config["task"])
    schedule = config["schedule"]
    return Training(
        config=config,
        task=task,
        net=NetSpec(input_size=task.input_size, num_outputs=task.num_outputs, **config["model"]),
        optimizer=OptimizerSpec(**config["optimizer"]),
        schedule=ScheduleSpec(tuple(schedule["phase_epochs"]), schedule["cooling"]).scaled(
            config["budget"]
        ),
        trainer=TrainerSpec(**config["trainer"]),
    )


def train_run(config: Mapping[str, Any]) -> Path:
    """Train as `config` says and return the run's folder.

    The folder's name is a function of the config: a training that is complete is not done again,
    one that was stopped goes on after its last whole epoch, with the same result as without a stop.
    """
    training = check_config(config)
    folder = Path(config["out"]) / name_run(training.resolved, training.task)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            if _is_finished(folder):
                return folder
            # Vanishing gradients become subnormal numbers, which are slow on a CPU.
            torch.set_flush_denormal(True)
            _fit(training, folder)
    except Timeout:
        raise ValueError(f"{folder} is being trained by another process: wait for it.") from None
    finally:
        torch.set_flush_denormal(False)
    return folder


def name_run(resolved: Mapping[str, Any], task: Task) -> str:
    """`<model>-<task>-seed<seed>-<digest>`: equal for equal configs and equal data."""
    content = json.dumps([resolved, task.provenance()], sort_keys=True).encode()
    digest = hashlib.blake2b(content, digest_size=4).hexdigest()
    return f"{resolved['model']['name']}-{resolved['task']['name']}-seed{resolved['seed']}-{digest}"


def _is_finished(folder: Path) -> bool:
    if not (folder / "provenance.json").is_file():
        return False
    run = load_run(folder)
    if run.divergence:
        print(f"{folder} diverged before: {run.divergence}")
    elif run.is_complete:
        print(f"{folder} is complete.")
    return run.is_complete or bool(run.divergence)


def _fit(training: Training, folder: Path) -> None:
    _quieten_lightning()
    pl.seed_everything(training.seed, workers=True, verbose=False)
    train_set, val_set = training.task.sequences("train"), training.task.sequences("val")
    _check_readout(training, val_set)
    net = build_net(training.net, seed=training.seed)
    updates_per_step = choose_updates_per_step(training.trainer, training.optimizer, net, train_set)
    module = SequenceModule(
        net, kind=training.task.kind, optimizer=training.optimizer, schedule=training.schedule,
        loss_over_batch=training.trainer.loss_over_batch, seed=training.seed,
        block_batch_size=training.trainer.batch_size if updates_per_step > 1 else None,
    )  # fmt: skip
    loaders = _make_loaders(training, train_set, val_set, updates_per_step)
    trainer, checkpoint = _make_trainer(folder, training.trainer, training.schedule.num_epochs)
    provenance = _describe(training, net)
    last = folder / "checkpoints" / "last.ckpt"
    ckpt_path = last if last.is_file() else None
    print(_announce(training, net, folder, train_set, updates_per_step), flush=True)
    if ckpt_path:
        print(f"  going on from {last}", flush=True)
    write_config(folder, training.resolved, provenance)
    try:
        trainer.fit(module, *loaders, None, ckpt_path, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    except DivergedError as error:
        write_text(folder / DIVERGED, f"{error}\n")
        print(f"{folder}: {error}", file=sys.stderr)
        return
    if training.trainer.keep == "best":
        best = torch.load(checkpoint.best_model_path, weights_only=True)
        module.load_state_dict(best["state_dict"])
    seconds = count_seconds(folder)
    write_config(folder, training.resolved, {**provenance, "train_seconds": seconds})
    save_weights(folder, net)


def _check_readout(training: Training, sequences: SequenceSet) -> None:
    """Refuse a net that answers at other steps than the task is scored at."""
    targets = sequences[[0]].targets
    is_every_step = training.task.kind == CLASSIFICATION and targets.ndim == 2
    if is_every_step != (training.net.readout == "all"):
        where, readout = ("at single steps", "all") if is_every_step else ("at the end", "last")
        raise ValueError(
            f"{training.net.name} with readout={training.net.readout}, but task "
            f"{training.config['task']['name']} is scored {where}.\n"
            f"Pass model.readout={readout}, or another model or task."
        )


def _describe(training: Training, net: SequenceNet) -> dict[str, Any]:
    """The run's provenance."""
    task, parts = training.task, ("train", "val")
    use = {part: task.use(part) for part in parts}
    is_of_clips = "features" in training.config["task"]
    sources = {part: sorted(set(task.sources(part))) for part in parts if is_of_clips}
    return describe_provenance(
        seed=training.seed,
        num_parameters=num_parameters(net),
        multiply_adds_per_step=multiply_adds_per_step(training.net),
        use={
            part: {
                "listed": u.num_listed, "used": len(u.used), "missing": len(u.missing),
                "truncated": len(u.truncated),
            }
            for part, u in use.items()
        },
        sources=sources,
        **task.provenance(),
    )  # fmt: skip


def _announce(
    training: Training,
    net: SequenceNet,
    folder: Path,
    train_set: SequenceSet,
    updates_per_step: int,
) -> str:
    """What is about to be trained, for the terminal."""
    task, budget = training.task, training.config["budget"]
    lines = [
        str(folder),
        f"  {training.net.name}: {num_parameters(net)} parameters, "
        f"{multiply_adds_per_step(training.net)} multiply-adds a step",
        f"  {task.num_outputs} outputs; train {task.use('train')}; val {task.use('val')}; "
        f"sequences {'in memory' if train_set.is_in_memory else 'read from disk'}",
    ]
    if budget != 1:
        lines.append(f"  a trial with {budget:g} of the training budget")
    if updates_per_step > 1:
        lines.append(f"  {updates_per_step} consecutive updates at a time, in the fused kernel")
    return "\n".join(lines)


def _make_loaders(
    training: Training, train_set: SequenceSet, val_set: SequenceSet, updates_per_step: int
) -> tuple[DataLoader[SequenceBatch], DataLoader[SequenceBatch]]:
    spec = training.trainer
    train_loader = make_loader(
        train_set, spec.batch_size, seed=training.seed, num_workers=spec.num_workers,
        share=training.schedule.epoch_share, batches_per_block=updates_per_step,
    )  # fmt: skip
    # Without updates the batch may be larger: only the memory changes.
    val_size = max(spec.batch_size, _VAL_BATCH_SIZE)
    return train_loader, make_loader(val_set, val_size, seed=None, num_workers=spec.num_workers)


def _make_trainer(
    folder: Path, spec: TrainerSpec, num_epochs: int
) -> tuple[pl.Trainer, ModelCheckpoint]:
    checkpoint = ModelCheckpoint(
        folder / "checkpoints", "best", monitor="val_loss",
        save_on_train_epoch_end=True, save_last=True,
        enable_version_counter=False,
    )  # fmt: skip
    is_terminal = sys.stderr.isatty()
    trainer = pl.Trainer(
        max_epochs=num_epochs,
        accelerator=spec.accelerator,
        devices=spec.devices,
        strategy=spec.strategy,
        precision=spec.precision,  # type: ignore[arg-type]
        callbacks=[
            checkpoint,
            EpochLog(folder),
            TQDMProgressBar() if is_terminal else EpochLines(),
        ],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        enable_progress_bar=is_terminal,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    return trainer, checkpoint


def _quieten_lightning() -> None:
    """Leave out Lightning's remarks on hardware, and its advice that does not apply here."""
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning's own call, not ours.
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
    # A thread that reads ahead is faster than loading processes.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
