"""The groups of the config that are composed from tables: a new row is a new choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from hydra.core.config_store import ConfigStore

from pipeline.recurrent.spec import NETS, model_options
from pipeline.tasks.options import ANSWERED_AT_EVERY_STEP, TASK_OPTIONS

# Options of a task that are given without `task.` before them, and stand beside its section.
TOP_OPTIONS = ("features", "split")


def register_groups() -> None:
    """Make `model=` and `task=` known to Hydra."""
    store = ConfigStore.instance()
    for name in NETS:
        store.store(group="model", name=name, node=model_options(name))
    for name in TASK_OPTIONS:
        store.store(group="task", name=name, node=_compose_task(name), package="_global_")


def _compose_task(name: str) -> dict[str, Any]:
    """What `task=name` adds to the config, with the defaults of the task's options."""
    defaults = TASK_OPTIONS[name]()
    options = {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    top = {option: options.pop(option) for option in TOP_OPTIONS if option in options}
    model = {"model": {"readout": "all"}} if name in ANSWERED_AT_EVERY_STEP else {}
    return {**top, **model, "task": {"name": name, **options}}


def join_task(config: Mapping[str, Any]) -> dict[str, Any]:
    """The name and all options of a config's task, also those that stand beside its section."""
    top = {option: config[option] for option in TOP_OPTIONS if option in config}
    section = config["task"]
    return {"name": section["name"], **top, **section}
