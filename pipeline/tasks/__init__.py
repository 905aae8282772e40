"""What is learned: each task gives sequences and targets for training, validation and testing."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.tasks.clips import ClipsTask
from pipeline.tasks.task import CLASSIFICATION, REGRESSION, PartUse, Task

TASKS: dict[str, Callable[..., Task]] = {"clips": ClipsTask}


def make_task(section: Mapping[str, Any], *, labels: Sequence[str] | None = None) -> Task:
    """The task of a config's `task` section; with `labels`, the classes of an earlier training."""
    options = dict(section)
    name = options.pop("name")
    if name not in TASKS:
        near = difflib.get_close_matches(str(name), TASKS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"task={name}: expected one of {', '.join(TASKS)}.{hint}")
    if labels is not None:
        options["labels"] = tuple(labels)
    return TASKS[name](**options)


__all__ = ["CLASSIFICATION", "REGRESSION", "TASKS", "PartUse", "Task", "make_task"]
