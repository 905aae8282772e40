"""What a config asks for, checked: the run, its task, and how it is computed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pipeline.clips import digest_split, is_split_file
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import (
    BatchSpec,
    OptimizerSpec,
    RunConfig,
    ScheduleSpec,
    TaskConfig,
    is_run,
    load_run,
)
from pipeline.tasks import Task, make_task
from train.devices import check_precision
from train.groups import join_task
from train.specs import ComputeSpec


@dataclass(frozen=True)
class Training:
    """One training: what is learned, from which sequences, and how it is computed."""

    config: RunConfig
    task: Task
    compute: ComputeSpec

    @property
    def schedule(self) -> ScheduleSpec:
        """The schedule of this training, shortened by its budget."""
        return self.config.schedule.scaled(self.config.budget)


def check_config(config: Mapping[str, Any]) -> Training:
    """The training that a composed config asks for; ValueError for what cannot be done."""
    section = join_task(config)
    task = make_task(section)
    schedule, trainer = config["schedule"], dict(config["trainer"])
    batch = BatchSpec(**{field.name: trainer.pop(field.name) for field in fields(BatchSpec)})
    options = {key: value for key, value in section.items() if key != "name"}
    split_digest = ""
    if "split" in options and is_split_file(options["split"]):
        split_digest = digest_split(options["split"])
        options["split"] = Path(options["split"]).stem
    run = RunConfig(
        seed=config["seed"],
        budget=config["budget"],
        task=TaskConfig.make(section["name"], options),
        split_digest=split_digest,
        origin=task.origin,
        labels=task.labels,
        net=NetSpec(input_size=task.input_size, num_outputs=task.num_outputs, **config["model"]),
        optimizer=OptimizerSpec(**config["optimizer"]),
        schedule=ScheduleSpec(tuple(schedule["phase_epochs"]), schedule["cooling"]),
        batch=batch,
    )
    compute = ComputeSpec(**trainer)
    check_precision(
        batch.precision, compute.found_accelerator, net=run.net, optimizer=run.optimizer.name
    )
    return Training(run, task, compute)


def find_folder(out: Path, config: RunConfig) -> Path:
    """The run's folder in `out`: the one of its name, or where an earlier version began it."""
    folder = out / config.name
    if is_run(folder):
        return folder
    prefix = folder.name.removesuffix(config.digest())
    for other in sorted(out.glob("*")):
        with suppress(ValueError):  # it is damaged, and so not the one
            if other.name.startswith(prefix) and load_run(other).config.digest() == config.digest():
                return other
    return folder
