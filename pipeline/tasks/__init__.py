"""What is learned: each task gives sequences and targets for training, validation and testing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.choices import check_choice
from pipeline.tasks.options import TASK_OPTIONS
from pipeline.tasks.task import (
    CLASSIFICATION,
    LANGUAGE,
    NOT_SCORED,
    REGRESSION,
    Origin,
    PartUse,
    Task,
)

# Tasks whose classes are those of the data at hand; the others' are fixed.
_WITH_CLASSES_OF_DATA = ("clips", "speech-frames")
# Tasks whose sequences are changed by what was found in their train part.
_WITH_STATISTICS = ("speech-frames",)
# Tasks of which a run keeps texts, without which its outputs have no meaning.
_WITH_KEPT_TEXTS = ("words",)


def make_task(
    section: Mapping[str, Any],
    *,
    labels: Sequence[str] | None = None,
    origin: Origin | None = None,
    kept: Mapping[str, str] | None = None,
) -> Task:
    """The task of a config's `task` section.

    `labels` are the classes of an earlier training, `kept` the texts that it kept, and `origin`
    what its sequences came from: what it found in its train part is used again.
    """
    from pipeline.tasks.table import TASKS  # noqa: PLC0415 - names and options need no torch

    values = dict(section)
    name = values.pop("name")
    check_choice("task", name, TASK_OPTIONS)
    options = TASK_OPTIONS[name](**values)
    given: dict[str, Any] = {}
    if labels is not None and name in _WITH_CLASSES_OF_DATA:
        given["labels"] = tuple(labels)
    if origin is not None and name in _WITH_STATISTICS:
        given["found"] = origin.sequences
    if kept is not None and name in _WITH_KEPT_TEXTS:
        given["kept"] = kept
    return TASKS[name](options, **given)


__all__ = [
    "CLASSIFICATION", "LANGUAGE", "NOT_SCORED", "REGRESSION", "TASK_OPTIONS", "Origin", "PartUse",
    "Task", "make_task",
]  # fmt: skip
