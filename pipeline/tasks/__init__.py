"""What is learned: each task gives sequences and targets for training, validation and testing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.choices import check_choice
from pipeline.tasks.clips import ClipsTask
from pipeline.tasks.copying import copying_task
from pipeline.tasks.digits import digits_task
from pipeline.tasks.marked import marked_task
from pipeline.tasks.mnist import mnist_task, permuted_mnist_task
from pipeline.tasks.task import CLASSIFICATION, NOT_SCORED, REGRESSION, PartUse, Task

TASKS: dict[str, Callable[..., Task]] = {
    "clips": ClipsTask,
    "addition": partial(marked_task, "sum"),
    "multiplication": partial(marked_task, "product"),
    "mnist": mnist_task,
    "permuted-mnist": permuted_mnist_task,
    "copying": copying_task,
    "digits": digits_task,
}
# Tasks whose classes are those of the data at hand; the others' are fixed.
_WITH_CLASSES_OF_DATA = ("clips",)


def make_task(section: Mapping[str, Any], *, labels: Sequence[str] | None = None) -> Task:
    """The task of a config's `task` section; with `labels`, the classes of an earlier training."""
    options = dict(section)
    name = options.pop("name")
    check_choice("task", name, TASKS)
    if labels is not None and name in _WITH_CLASSES_OF_DATA:
        options["labels"] = tuple(labels)
    return TASKS[name](**options)


__all__ = [
    "CLASSIFICATION", "NOT_SCORED", "REGRESSION", "TASKS", "PartUse", "Task", "make_task",
]  # fmt: skip
