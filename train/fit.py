"""One training: from a resolved config to a complete run folder."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
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
from pipeline.recurrent.spec import multiply_adds_per_step
from pipeline.runs import DIVERGED, begin_run, is_run, load_run, save_weights, write_provenance
from pipeline.sequences import SequenceBatch, SequenceSet, make_loader
from pipeline.tasks import CLASSIFICATION
from train.blocks import choose_updates_per_step
from train.callbacks import EpochLines, EpochLog, count_seconds
from train.module import DivergedError, SequenceModule
from train.record import describe_training
from train.training import Training, check_config, find_folder

_VAL_BATCH_SIZE = 256
_LOCK = ".lock"


def train_run(config: Mapping[str, Any]) -> Path:
    """Train as `config`, which `train.config.compose_config` makes, says; the run's folder.

    The folder's name is a function of what is learned: a training that is complete is not done
    again, one that was stopped goes on after its last whole epoch, with the same result as without
    a stop.
    """
    training = check_config(config)
    folder = find_folder(Path(config["out"]), training.config)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / _LOCK, timeout=0):
            if _is_finished(folder):
                return folder
            # Vanishing gradients become subnormal numbers, which are slow on a CPU.
            torch.set_flush_denormal(True)
            _fit(training, folder)
    except Timeout:
        raise ValueError(f"{folder} is being trained by another process: wait for it.") from None
    finally:
        torch.set_flush_denormal(False)
        _remove_if_nothing_began(folder)
    return folder


def _remove_if_nothing_began(folder: Path) -> None:
    """A training that was refused leaves no folder behind."""
    if {path.name for path in folder.iterdir()} <= {_LOCK}:
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _is_finished(folder: Path) -> bool:
    if not is_run(folder):
        return False
    run = load_run(folder)
    if run.divergence:
        print(f"{folder} diverged before: {run.divergence}")
    elif run.is_complete:
        print(f"{folder} is complete.")
    return run.is_complete or bool(run.divergence)


def _fit(training: Training, folder: Path) -> None:
    _quieten_lightning()
    config = training.config
    pl.seed_everything(config.seed, workers=True, verbose=False)
    train_set, val_set = training.task.sequences("train"), training.task.sequences("val")
    _check_readout(training, val_set)
    net = build_net(config.net, seed=config.seed)
    updates_per_step = choose_updates_per_step(
        training.compute, config.batch, config.optimizer, net=net, sequences=train_set
    )
    module = SequenceModule(
        net, kind=training.task.kind, optimizer=config.optimizer, schedule=training.schedule,
        loss_over_batch=config.batch.loss_over_batch, seed=config.seed,
        block_batch_size=config.batch.batch_size if updates_per_step > 1 else None,
    )  # fmt: skip
    loaders = _make_loaders(training, train_set, val_set, updates_per_step)
    trainer, best_epoch = _make_trainer(folder, training)
    last = folder / "checkpoints" / "last.ckpt"
    ckpt_path = last if last.is_file() else None
    print(_announce(training, net, folder, train_set, updates_per_step), flush=True)
    if ckpt_path:
        print(f"  going on from {last}", flush=True)
    provenance = describe_training(
        training, net, folder, device=trainer.strategy.root_device, checkpoint=ckpt_path
    )
    begin_run(folder, config, provenance)
    try:
        trainer.fit(module, *loaders, None, ckpt_path, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    except DivergedError as error:
        write_text(folder / DIVERGED, f"{error}\n")
        print(f"{folder}: {error}", file=sys.stderr)
        return
    if config.batch.keep == "best":
        best = torch.load(best_epoch.best_model_path, weights_only=True)
        module.load_state_dict(best["state_dict"])
    write_provenance(folder, replace(provenance, train_seconds=count_seconds(folder)))
    save_weights(folder, net)


def _check_readout(training: Training, sequences: SequenceSet) -> None:
    """Refuse a net that answers at other steps than the task is scored at."""
    targets = sequences[[0]].targets
    is_every_step = training.task.kind == CLASSIFICATION and targets.ndim == 2
    if is_every_step != (training.config.net.readout == "all"):
        where, readout = ("at single steps", "all") if is_every_step else ("at the end", "last")
        raise ValueError(
            f"{training.config.net.name} with readout={training.config.net.readout}, but task "
            f"{training.config.task.name} is scored {where}.\n"
            f"Pass model.readout={readout}, or another model or task."
        )


def _announce(
    training: Training,
    net: SequenceNet,
    folder: Path,
    train_set: SequenceSet,
    updates_per_step: int,
) -> str:
    """What is about to be trained, for the terminal."""
    task, budget = training.task, training.config.budget
    lines = [
        str(folder),
        f"  {training.config.net.name}: {num_parameters(net)} parameters, "
        f"{multiply_adds_per_step(training.config.net)} multiply-adds a step",
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
    batch_size, num_workers = training.config.batch.batch_size, training.compute.num_workers
    train_loader = make_loader(
        train_set, batch_size, seed=training.config.seed, num_workers=num_workers,
        share=training.schedule.epoch_share, batches_per_block=updates_per_step,
    )  # fmt: skip
    # Without updates the batch may be larger: only the memory changes.
    val_size = max(batch_size, _VAL_BATCH_SIZE)
    return train_loader, make_loader(val_set, val_size, seed=None, num_workers=num_workers)


def _make_trainer(folder: Path, training: Training) -> tuple[pl.Trainer, ModelCheckpoint]:
    """The trainer, and what knows the epoch with the best validation loss."""
    compute = training.compute
    # Two, as Lightning's save_last leaves out the epochs that are not the best so far. The last one
    # is written last, so that it knows of the best of its epoch.
    best, last = (
        ModelCheckpoint(
            folder / "checkpoints", name, monitor=monitor,
            save_on_train_epoch_end=True, enable_version_counter=False,
        )
        for name, monitor in (("best", "val_loss"), ("last", None))
    )  # fmt: skip
    is_terminal = sys.stderr.isatty()
    trainer = pl.Trainer(
        max_epochs=training.schedule.num_epochs,
        accelerator=compute.accelerator,
        devices=compute.devices,
        strategy=compute.strategy,
        precision=training.config.batch.precision,  # type: ignore[arg-type]
        callbacks=[
            best,
            last,
            EpochLog(folder),
            TQDMProgressBar() if is_terminal else EpochLines(),
        ],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        enable_progress_bar=is_terminal,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    return trainer, best


def _quieten_lightning() -> None:
    """Leave out Lightning's remarks on hardware, and its advice that does not apply here."""
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning's own call, not ours.
    warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
    # A thread that reads ahead is faster than loading processes.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
