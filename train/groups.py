"""The groups of the config that are composed from tables: a new row is a new choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from pipeline.recurrent.spec import NETS, model_options
from pipeline.tasks.options import (
    ANSWERED_AT_EVERY_STEP,
    EMBEDDING_SIZES,
    TASK_OPTIONS,
    TOP_OPTIONS,
)
from train.experiments import PROTOCOLS

_OF_NET = "of_net"


def register_groups() -> None:
    """Make `model=`, `task=` and `+experiment=` known to Hydra, and the values they compute."""
    for name, compute in _RESOLVERS.items():
        OmegaConf.register_new_resolver(name, compute, replace=True)
    store = ConfigStore.instance()
    # Hydra copies all of it for each list of choices that it makes, some 80 for --help; what it
    # takes out of it is copied all the same.
    vars(store)["__deepcopy__"] = lambda memo: store
    _register("model", NETS, model_options, package=None)
    _register("task", TASK_OPTIONS, _compose_task, package="_global_")
    _register("experiment", PROTOCOLS, _compose_experiment, package="_global_")


def _register(
    group: str, names: Iterable[str], compose: Callable[[str], Any], *, package: str | None
) -> None:
    store = ConfigStore.instance()
    for name in names:
        if f"{name}.yaml" not in store.repo.get(group, {}):  # nodes are slow to make
            store.store(group=group, name=name, node=compose(name), package=package)


def _compose_task(name: str) -> dict[str, Any]:
    """What `task=name` adds to the config, with the defaults of the task's options."""
    defaults = TASK_OPTIONS[name]()
    options = {field.name: getattr(defaults, field.name) for field in fields(defaults)}
    top = {option: options.pop(option) for option in TOP_OPTIONS if option in options}
    model = {
        **({"readout": "all"} if name in ANSWERED_AT_EVERY_STEP else {}),
        **({"embedding_size": EMBEDDING_SIZES[name]} if name in EMBEDDING_SIZES else {}),
    }
    return {**top, **({"model": model} if model else {}), "task": {"name": name, **options}}


def join_task(config: Mapping[str, Any]) -> dict[str, Any]:
    """The name and all options of a config's task, also those that stand beside its section."""
    top = {option: config[option] for option in TOP_OPTIONS if option in config}
    section = config["task"]
    return {"name": section["name"], **top, **section}


def _compose_experiment(name: str) -> dict[str, Any]:
    """What `+experiment=name` chooses and sets.

    What is best for single nets is looked up when the config is resolved, by the net it then has:
    however the net was chosen, and for each net of a sweep.
    """
    protocol = PROTOCOLS[name]
    groups = {"task": protocol.task, "optimizer": protocol.optimizer, "model": protocol.net}
    defaults = [{f"override /{group}": choice} for group, choice in groups.items() if choice]
    sections: dict[str, Any] = {
        "model": {"dropout": _setting(name, "dropout")},
        "optimizer": {"lr": _setting(name, "lr"), "clip": protocol.clip},
        "schedule": {"phase_epochs": list(protocol.phase_epochs)},
        "trainer": {
            "batch_size": protocol.batch_size,
            "loss_over_batch": protocol.loss_over_batch,
            "keep": protocol.keep,
        },
    }
    for section, settings in protocol.more.items():
        sections[section] = {**sections.get(section, {}), **settings}
    return {
        "defaults": defaults,
        **({"split": protocol.split} if protocol.split else {}),
        **sections,
    }


def _setting(experiment: str, name: Literal["lr", "dropout"]) -> float | str:
    protocol = PROTOCOLS[experiment]
    if not protocol.best_of_net:
        return float(getattr(protocol, name))
    return f"${{{_OF_NET}:{experiment},{name},${{model.name}}}}"


def _find_setting(experiment: str, name: Literal["lr", "dropout"], net: str) -> float:
    return PROTOCOLS[experiment].setting(name, net)


def _is_several(phases: object) -> bool:
    return isinstance(phases, Sequence) and len(phases) > 1


def _where(given: Any, default: Any) -> Any:
    """A default that has an effect only where another value is given, neither null nor false."""
    return None if given is None or given is False else default


_RESOLVERS: dict[str, Callable[..., Any]] = {
    _OF_NET: _find_setting, "several": _is_several, "where": _where,
}  # fmt: skip
