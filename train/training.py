"""What a config asks for, checked: first by itself, then against its data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pipeline.clips import digest_split, is_split_file
from pipeline.fields import write_value
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
from pipeline.tasks import CLASSIFICATION, Origin, Task, make_task
from train.devices import check_precision
from train.groups import join_task
from train.loggers import check_logger
from train.memory import check_memory
from train.specs import ComputeSpec


@dataclass(frozen=True)
class Training:
    """One training: what is learned, from which sequences, how it is computed, and logged."""

    config: RunConfig
    task: Task
    compute: ComputeSpec
    logger: str

    @property
    def schedule(self) -> ScheduleSpec:
        """The schedule of this training, shortened by its budget."""
        return self.config.schedule.scaled(self.config.budget)


def check_config(config: Mapping[str, Any]) -> Training:
    """The training that a composed config asks for; ValueError for what cannot be done."""
    draft, compute = draft_config(config)
    compute.check_machine()
    check_precision(
        str(draft.batch.precision), compute.found_accelerator,
        net=draft.net, optimizer=draft.optimizer.name,
    )  # fmt: skip
    section = join_task(config)
    task = make_task(section)
    _refuse_one_class(task)
    options = {key: value for key, value in section.items() if key != "name"}
    split_digest = ""
    if "split" in options and is_split_file(options["split"]):
        split_digest = digest_split(options["split"])
        options["split"] = Path(options["split"]).stem
    run = replace(
        draft,
        task=TaskConfig.make(section["name"], options),
        split_digest=split_digest,
        origin=task.origin,
        labels=task.labels,
        net=replace(draft.net, input_size=task.input_size, num_outputs=task.num_outputs),
    )
    check_memory(run)
    return Training(run, task, compute, config["logger"])


def draft_config(config: Mapping[str, Any]) -> tuple[RunConfig, ComputeSpec]:
    """The run and its computation as far as the config alone says them, each section checked.

    What the data say is left open, as a net of one input and one output. Reads no file and needs
    no torch; ValueError for what cannot be.
    """
    section, schedule, trainer = join_task(config), config["schedule"], dict(config["trainer"])
    batch = BatchSpec(**{field.name: trainer.pop(field.name) for field in fields(BatchSpec)})
    options = {key: value for key, value in section.items() if key != "name"}
    _check_out(config["out"])
    check_logger(config["logger"])
    draft = RunConfig(
        seed=config["seed"],
        budget=config["budget"],
        task=TaskConfig.make(section["name"], options),
        split_digest="",
        origin=Origin(),
        labels=(),
        net=NetSpec(input_size=1, num_outputs=1, **config["model"]),
        optimizer=OptimizerSpec(**config["optimizer"]),
        schedule=ScheduleSpec(_list_phases(schedule["phase_epochs"]), schedule["cooling"]),
        batch=batch,
    )
    check_memory(draft)
    return draft, ComputeSpec(**trainer)


def _check_out(out: object) -> None:
    if not isinstance(out, str) or not out:
        raise ValueError(f"out: expected the folder of runs, found {write_value(out)}.")


def _list_phases(found: object) -> tuple[int, ...]:
    if not isinstance(found, list):
        raise ValueError(
            f"schedule.phase_epochs: expected a list of epochs such as [25,30,15], "
            f"found {write_value(found)}."
        )
    return tuple(found)


def _refuse_one_class(task: Task) -> None:
    """Refuse a task that every net solves at once."""
    if task.kind == CLASSIFICATION and len(task.labels) == 1:
        raise ValueError(
            f"Expected two classes or more to tell apart, found one: {task.labels[0]}.\n"
            f"Extract clips of other classes too, or choose another split."
        )


def find_unvalidated(task: Task) -> tuple[str, ...]:
    """The classes without a sequence in the validation part, or a frame of one."""
    from pipeline.tasks.clips import ClipsTask  # noqa: PLC0415 - checking a config needs no torch
    from pipeline.tasks.speech import SpeechTask  # noqa: PLC0415

    return task.find_absent("val") if isinstance(task, ClipsTask | SpeechTask) else ()


def find_untrained(task: Task) -> tuple[str, ...]:
    """The classes without a step in the train part, which no net can learn; of clips none are."""
    from pipeline.tasks.speech import SpeechTask  # noqa: PLC0415

    return task.find_absent("train") if isinstance(task, SpeechTask) else ()


def find_notes(task: Task) -> tuple[str, ...]:
    """What else is to be said of a task's sequences."""
    from pipeline.tasks.words import WordsTask  # noqa: PLC0415 - checking a config needs no torch

    return tuple(task.notes()) if isinstance(task, WordsTask) else ()


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
