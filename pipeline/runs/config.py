"""What a run learns, and nothing of how or where: two runs of one RunConfig are the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from pipeline.choices import check_choice
from pipeline.fields import hold_fields, without_added
from pipeline.recurrent.spec import NetSpec
from pipeline.runs.learning import BatchSpec, OptimizerSpec, ScheduleSpec
from pipeline.tasks import Origin
from pipeline.tasks.options import TASK_OPTIONS, TaskOptions

FORMAT = "run 2"
MOST_SEED = 2**32 - 1  # of Lightning and numpy
# The sections that have another name, or the same, at the command line.
_GROUPS = {"net": "model", "optimizer": "optimizer", "schedule": "schedule", "batch": "trainer"}
_OF_DATA = ("input_size", "num_outputs")


@dataclass(frozen=True)
class TaskConfig:
    """A task by name, with its options."""

    name: str
    options: TaskOptions

    @classmethod
    def make(cls, name: str, options: Mapping[str, Any]) -> TaskConfig:
        """The task of these options; ValueError for an unknown name or option."""
        check_choice("task", name, TASK_OPTIONS)
        known = [field.name for field in fields(TASK_OPTIONS[name])]
        for key in options:
            check_choice(f"option of task={name}", key, known)
        return cls(name, TASK_OPTIONS[name](**options))

    def learned(self) -> dict[str, Any]:
        """The options that decide what is learned: no paths, nothing of how data are held."""
        return {
            f.name: getattr(self.options, f.name)
            for f in fields(self.options)
            if f.metadata.get("learned", True)
        }


@dataclass(frozen=True)
class RunConfig:
    """The identity of a run: its folder's name, and what joins the seeds of one setting.

    `origin` says what the task's sequences come from. `labels` are the classes in the order of the
    outputs, () for a regression. `split_digest` tells split files of one name apart; "" for a split
    of this program. `budget` is the share of the schedule that a trial takes.
    """

    seed: int
    budget: float
    task: TaskConfig
    split_digest: str
    origin: Origin
    labels: tuple[str, ...]
    net: NetSpec
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    batch: BatchSpec

    def __post_init__(self) -> None:
        hold_fields(self)
        if not 0 <= self.seed <= MOST_SEED:
            raise ValueError(
                f"seed: expected a whole number from 0 to {MOST_SEED}, found {self.seed}."
            )
        self.schedule.scaled(self.budget)  # refuses what is no share

    @property
    def name(self) -> str:
        """`<net>-<task>-seed<seed>-<digest>`, the name of the run's folder."""
        return f"{self.net.name}-{self.task.name}-seed{self.seed}-{self.digest()}"

    def digest(self) -> str:
        """8 hex digits, equal for equal configs."""
        content = {**self.learned(), "seed": self.seed}
        content["task"] = without_added(content["task"], self.task.options)
        content["net"] = without_added(content["net"], self.net)
        text = json.dumps(content, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    def learned(self) -> dict[str, Any]:
        """All but the seed, as plain names and numbers: seeds of one setting have it in common."""
        return {
            "budget": self.budget,
            "task": {"name": self.task.name, **self.task.learned()},
            "split_digest": self.split_digest,
            "origin": self.origin.learned(),
            "labels": list(self.labels),
            "net": asdict(self.net),
            "optimizer": asdict(self.optimizer),
            "schedule": {
                "phase_epochs": list(self.schedule.phase_epochs),
                "cooling": self.schedule.cooling,
            },
            "batch": asdict(self.batch),
        }

    def settings(self) -> dict[str, Any]:
        """What `learned` says by the names of `python -m train`: `optimizer.lr`, `model.dropout`.

        Sizes that follow from the data are left out.
        """
        return dict(_list_settings(self))

    def to_dict(self) -> dict[str, Any]:
        """What config.yaml holds."""
        return {
            "format": FORMAT, "seed": self.seed, **self.learned(), "origin": self.origin.to_dict(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RunConfig:
        """The config that `to_dict` wrote; KeyError, TypeError or ValueError for anything else."""
        rest = dict(content)
        if (found := rest.pop("format")) != FORMAT:
            raise ValueError(f"expected the format {FORMAT!r}, found {found!r}")
        task = dict(rest.pop("task"))
        schedule = rest.pop("schedule")
        return cls(
            task=TaskConfig.make(task.pop("name"), task),
            origin=Origin.from_dict(rest.pop("origin")),
            labels=tuple(rest.pop("labels")),
            net=NetSpec(**rest.pop("net")),
            optimizer=OptimizerSpec(**rest.pop("optimizer")),
            schedule=ScheduleSpec(tuple(schedule["phase_epochs"]), schedule["cooling"]),
            batch=BatchSpec(**rest.pop("batch")),
            **rest,
        )


def _list_settings(config: RunConfig) -> Iterator[tuple[str, Any]]:
    content = config.learned()
    yield "budget", content["budget"]
    task = content["task"]
    for key, value in task.items():
        yield ("split" if key == "split" else f"task.{key}"), value
    if config.split_digest:
        yield "split_digest", config.split_digest
    if config.origin.features is not None:
        for key, value in content["origin"]["features"].items():
            yield f"features.{key}", value
    yield "labels", content["labels"]
    for section, group in _GROUPS.items():
        for key, value in content[section].items():
            if key not in _OF_DATA:
                yield f"{group}.{key}", value
