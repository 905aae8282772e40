"""One training: from a resolved config to a complete run folder."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from pipeline.recurrent.classifier import build_net, num_parameters
from pipeline.recurrent.spec import NetSpec, multiply_adds_per_step
from pipeline.runs import (
    DIVERGED,
    describe_provenance,
    load_run,
    net_section,
    save_weights,
    write_config,
)
from pipeline.sequences import make_loader
from pipeline.tasks import Task, make_task
from train.callbacks import EpochLines, EpochLog, count_seconds
from train.module import DivergedError, SequenceModule
from train.specs import OptimizerSpec, ScheduleSpec, TrainerSpec

_LOADING_WORKERS = 2


def train_run(config: Mapping[str, Any]) -> Path:
    """Train as `config` says and return the run's folder.

    The folder's name is a function of the config: a training that is complete is not done again,
    one that was stopped goes on after its last whole epoch, with the same result as without a stop.
    """
    optimizer = OptimizerSpec(**config["optimizer"])
    schedule = ScheduleSpec(
        tuple(config["schedule"]["phase_epochs"]), config["schedule"]["cooling"]
    )
    trainer_spec = TrainerSpec(**config["trainer"])
    task = make_task(config["task"])
    spec = NetSpec(input_size=task.input_size, num_outputs=task.num_outputs, **config["model"])
    resolved = {
        **{k: config[k] for k in ("seed", "task", "model", "optimizer", "schedule", "trainer")},
        "net": net_section(spec),
        "labels": list(task.labels),
    }
    folder = Path(config["out"]) / name_run(resolved, task)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            if _is_finished(folder):
                return folder
            # Vanishing gradients become subnormal numbers, which are slow on a CPU.
            torch.set_flush_denormal(True)
            _fit(folder, resolved, task, spec, optimizer, schedule, trainer_spec)
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


def _fit(
    folder: Path,
    resolved: Mapping[str, Any],
    task: Task,
    spec: NetSpec,
    optimizer: OptimizerSpec,
    schedule: ScheduleSpec,
    trainer_spec: TrainerSpec,
) -> None:
    seed = int(resolved["seed"])
    _quieten_lightning()
    pl.seed_everything(seed, workers=True, verbose=False)
    net = build_net(spec, seed=seed)
    use = {part: task.use(part) for part in ("train", "val")}
    provenance = describe_provenance(
        seed=seed,
        num_parameters=num_parameters(net),
        multiply_adds_per_step=multiply_adds_per_step(spec),
        use={part: {"listed": u.num_listed, "used": len(u.used), "missing": len(u.missing),
                    "truncated": len(u.truncated)} for part, u in use.items()},
        **task.provenance(),
    )  # fmt: skip
    train_set, val_set = task.sequences("train"), task.sequences("val")
    print(
        f"{folder}\n"
        f"  {spec.name}: {num_parameters(net)} parameters, "
        f"{multiply_adds_per_step(spec)} multiply-adds a step\n"
        f"  {task.num_outputs} outputs; train {use['train']}; val {use['val']}; "
        f"sequences {'in memory' if train_set.is_in_memory else 'read from disk'}",
        flush=True,
    )
    workers = trainer_spec.num_workers
    if workers == "auto":
        workers = 0 if train_set.is_in_memory else _LOADING_WORKERS
    size, workers = trainer_spec.batch_size, int(workers)
    train_loader = make_loader(train_set, size, seed=seed, num_workers=workers)
    val_loader = make_loader(val_set, size, seed=None, num_workers=workers)
    module = SequenceModule(
        net, kind=task.kind, optimizer=optimizer, schedule=schedule,
        loss_over_batch=trainer_spec.loss_over_batch, seed=seed,
    )  # fmt: skip
    trainer, checkpoint = _make_trainer(folder, trainer_spec, schedule.num_epochs)
    last = folder / "checkpoints" / "last.ckpt"
    if last.is_file():
        print(f"  going on from {last}", flush=True)
    write_config(folder, resolved, provenance)
    try:
        trainer.fit(
            module,
            train_loader,
            val_loader,
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    except DivergedError as error:
        (folder / DIVERGED).write_text(f"{error}\n")
        print(f"{folder}: {error}", file=sys.stderr)
        return
    if trainer_spec.keep == "best":
        best = torch.load(checkpoint.best_model_path, weights_only=True)
        module.load_state_dict(best["state_dict"])
    write_config(folder, resolved, {**provenance, "train_seconds": count_seconds(folder)})
    save_weights(folder, net)


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
    # Features in memory need no loading workers.
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
