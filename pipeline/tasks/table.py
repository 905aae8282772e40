"""The tasks by name: each is made of its row in TASK_OPTIONS."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pipeline.tasks.arrow import ArrowTask
from pipeline.tasks.clips import ClipsTask
from pipeline.tasks.copying import copying_task
from pipeline.tasks.digits import digits_task
from pipeline.tasks.marked import marked_task
from pipeline.tasks.mnist import mnist_task, permuted_mnist_task
from pipeline.tasks.speech import SpeechTask
from pipeline.tasks.task import Task
from pipeline.tasks.words import words_task

TASKS: dict[str, Callable[..., Task]] = {
    "clips": ClipsTask,
    "arrow-of-time": ArrowTask,
    "addition": partial(marked_task, "sum"),
    "multiplication": partial(marked_task, "product"),
    "mnist": mnist_task,
    "permuted-mnist": permuted_mnist_task,
    "copying": copying_task,
    "digits": digits_task,
    "speech-frames": SpeechTask,
    "words": words_task,
}
