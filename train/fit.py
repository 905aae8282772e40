"""One training: from a resolved config to a complete run folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from pipeline.files import write_text
from pipeline.recurrent.classifier import build_net
from pipeline.runs import (
    DIVERGED,
    Run,
    begin_run,
    is_run,
    load_run,
    save_weights,
    write_card,
    write_provenance,
)
from pipeline.sequences import SequenceBatch, SequenceSet, make_loader
from pipeline.tasks import CLASSIFICATION, LANGUAGE
from train.announce import announce
from train.blocks import choose_updates_per_step
from train.callbacks import count_seconds, read_scores, write_scores
from train.checkpoints import read_checkpoint
from train.loggers import log_result
from train.module import DivergedError, SequenceModule
from train.quiet import quieten_lightning
from train.ranks import RankedBatches, as_one_process, refusing_once
from train.record import describe_training
from train.trainer import make_trainer
from train.training import (
    Training,
    check_config,
    find_folder,
)

_VAL_BATCH_SIZE = 256
_LOCK = ".lock"


class RunInUseError(ValueError):
    """Another process trains the run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} is being trained by another process: wait for it.")


def train_run(config: Mapping[str, Any]) -> Path:
    """Train as `config`, which `train.config.compose_config` makes, says; the run's folder.

    The folder's name is a function of what is learned: a training that is complete is not done
    again, one that was stopped goes on after its last whole epoch, with the same result as without
    a stop. Raises ValueError for a config that cannot be, of which RunInUseError is one.
    """
    folder, _ = find_or_train(config)
    return folder


def find_or_train(config: Mapping[str, Any]) -> tuple[Path, bool]:
    """The folder of `train_run`, and whether it was trained now, by this process."""
    quieten_lightning()
    with refusing_once():
        training = check_config(config)
        folder = find_folder(Path(config["out"]), training.config)
        trainer, best_epoch = make_trainer(folder, training)
    if not trainer.is_global_zero:
        return folder, _join(training, folder, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / _LOCK, timeout=0), _leaving_no_empty(folder):
            if _is_finished(folder):
                return folder, False
            _fit(training, folder, trainer, best_epoch=best_epoch)
    except Timeout:
        raise RunInUseError(folder) from None
    return folder, True


@contextmanager
def _leaving_no_empty(folder: Path) -> Iterator[None]:
    """A training that was refused leaves no folder behind, and `out` only with something in it.

    The lock is to be held: what is empty may be what another process is about to train in.
    """
    try:
        yield
    finally:
        if {path.name for path in folder.iterdir()} <= {_LOCK}:
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
            with suppress(OSError):
                folder.parent.rmdir()


def _is_finished(folder: Path, *, says_so: bool = True) -> bool:
    if not is_run(folder):
        return False
    run = load_run(folder)
    if run.divergence and says_so:
        print(f"{folder} diverged before: {run.divergence}")
    elif run.is_complete and says_so:
        print(f"{folder} is complete.")
    return run.is_complete or bool(run.divergence)


def _join(training: Training, folder: Path, trainer: pl.Trainer) -> bool:
    """Take part in a training whose first process, on this machine or another, does the writing.

    Whether there was one to take part in.
    """
    if _is_finished(folder, says_so=False):
        return False
    with refusing_once():
        module, batches, _ = _prepare(training)
    with suppress(DivergedError):  # the first process says so
        _compute(training, trainer, module, batches, checkpoint=_find_checkpoint(folder))
    return True


def _fit(
    training: Training, folder: Path, trainer: pl.Trainer, *, best_epoch: ModelCheckpoint
) -> None:
    config = training.config
    with refusing_once():
        module, batches, lines = _prepare(training)
    checkpoint = _find_checkpoint(folder)
    print("\n".join([str(folder), *lines]), flush=True)
    if checkpoint:
        print(f"  going on from {checkpoint}", flush=True)
    provenance = describe_training(
        training, module.net, folder, device=trainer.strategy.root_device, checkpoint=checkpoint
    )
    begin_run(folder, config, provenance, kept=training.task.kept())
    try:
        _compute(training, trainer, module, batches, checkpoint=checkpoint)
    except DivergedError as error:
        write_text(folder / DIVERGED, f"{error}\n")
        print(f"{folder}: {error}", file=sys.stderr)
        return
    kept_epoch = training.schedule.num_epochs - 1
    if config.batch.keep == "best":
        best = read_checkpoint(Path(best_epoch.best_model_path))
        module.load_state_dict(best["state_dict"])
        kept_epoch = int(best["epoch"])
    _tell_result(training, folder, trainer, kept_epoch=kept_epoch)
    provenance = replace(provenance, train_seconds=count_seconds(folder))
    write_provenance(folder, provenance)
    write_card(Run(folder, config, provenance))
    save_weights(folder, module.net)


def _tell_result(training: Training, folder: Path, trainer: pl.Trainer, *, kept_epoch: int) -> None:
    """Say and log the scores of the epoch whose weights are kept."""
    scores = read_scores(folder, kept_epoch)
    which = "the best by val_loss" if training.config.batch.keep == "best" else "the last"
    print(
        f"  kept epoch {kept_epoch + 1} of {training.schedule.num_epochs}, {which}: "
        f"{write_scores(scores)}",
        flush=True,
    )
    if trainer.logger is not None:
        settings = {**training.config.settings(), "seed": training.config.seed}
        del settings["labels"]  # hundreds of names, which no table has room for
        log_result(trainer.logger, settings, scores, step=kept_epoch)


def _prepare(training: Training) -> tuple[SequenceModule, RankedBatches, list[str]]:
    """What is trained, on which batches, and what to say of it."""
    config = training.config
    pl.seed_everything(config.seed, workers=True, verbose=False)
    train_set, val_set = training.task.sequences("train"), training.task.sequences("val")
    _check_readout(training, val_set)
    net = build_net(config.net, seed=config.seed)
    updates_per_step = choose_updates_per_step(
        training.compute, config.batch, net=net, sequences=train_set
    )
    module = SequenceModule(
        net, kind=training.task.kind, optimizer=config.optimizer, schedule=training.schedule,
        loss_over_batch=config.batch.loss_over_batch, seed=config.seed,
        block_batch_size=config.batch.batch_size if updates_per_step > 1 else None,
    )  # fmt: skip
    batches = RankedBatches(
        train_set, val_set,
        partial(_make_loaders, training, updates_per_step=updates_per_step),
    )  # fmt: skip
    return module, batches, announce(training, net, train_set, updates_per_step)


def _find_checkpoint(folder: Path) -> Path | None:
    last = folder / "checkpoints" / "last.ckpt"
    return last if last.is_file() else None


def _compute(
    training: Training,
    trainer: pl.Trainer,
    module: SequenceModule,
    batches: RankedBatches,
    *,
    checkpoint: Path | None,
) -> None:
    num_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(training.compute.found_threads)
        with as_one_process():
            trainer.fit(module, datamodule=batches, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(num_threads)


def _check_readout(training: Training, sequences: SequenceSet) -> None:
    """Refuse a net that answers at other steps than the task is scored at, or of other features."""
    _check_embedding(training)
    if training.task.kind == LANGUAGE:
        return
    targets = sequences[[0]].targets
    is_every_step = training.task.kind == CLASSIFICATION and targets.ndim == 2
    if is_every_step != (training.config.net.readout == "all"):
        where, readout = ("at single steps", "all") if is_every_step else ("at the end", "last")
        raise ValueError(
            f"{training.config.net.name} with readout={training.config.net.readout}, but task "
            f"{training.config.task.name} is scored {where}.\n"
            f"Pass model.readout={readout}, or another model or task."
        )


def _check_embedding(training: Training) -> None:
    net, task = training.config.net, training.config.task.name
    if net.reads_tokens != (training.task.kind == LANGUAGE):
        what = "numbers of tokens" if training.task.kind == LANGUAGE else "no numbers of tokens"
        fix = "100" if training.task.kind == LANGUAGE else "0"
        raise ValueError(
            f"model.embedding_size is {net.embedding_size}, but the features of task={task} are "
            f"{what}.\nPass model.embedding_size={fix}."
        )


def _make_loaders(
    training: Training, train_set: SequenceSet, val_set: SequenceSet, *, updates_per_step: int
) -> tuple[DataLoader[SequenceBatch], DataLoader[SequenceBatch]]:
    batch_size, num_workers = training.config.batch.batch_size, training.compute.num_workers
    train_loader = make_loader(
        train_set, batch_size, seed=training.config.seed, num_workers=num_workers,
        share=training.schedule.epoch_share, batches_per_block=updates_per_step,
    )  # fmt: skip
    # Without updates the batch may be larger: only the memory changes.
    val_size = max(batch_size, _VAL_BATCH_SIZE)
    return train_loader, make_loader(val_set, val_size, seed=None, num_workers=num_workers)
