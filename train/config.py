"""The config of one training, composed from train/conf and the tables of nets and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from train.experiments import expand_experiments
from train.groups import register_groups
from train.overrides import check_arguments, explain_config_error
from train.training import draft_config


def prepare_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra takes them: long names expanded, values in --help computed."""
    expanded = expand_experiments(arguments)
    check_arguments(expanded)
    asks_for_help = {"--help", "-h"} & set(arguments)
    return [*expanded, *(["--resolve"] if asks_for_help else [])]


def compose_config(overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The config that `python -m train` gets from these overrides, for `train_run`.

    Raises ValueError for an unknown name or key.

    `compose_config(["model=irnn", "features=features/UCF101-googlenet", "seed=1"])`
    """
    register_groups()
    try:
        with initialize_config_module(f"{__package__}.conf", version_base="1.3"):
            return resolve_config(compose("train", overrides=prepare_arguments(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain_config_error(error)) from error


def quote(value: str | Path) -> str:
    """The value of an override as Hydra reads it, whatever is in a path."""
    escaped = str(value).replace("'", "\\'")
    return f"'{escaped}'"


def resolve_config(config: DictConfig) -> dict[str, Any]:
    """Plain dicts and lists, nothing left to resolve, each section checked by itself.

    Raises ValueError for a missing or wrong value.
    """
    try:
        content: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ValueError(explain_config_error(error)) from error
    draft_config(content)
    return dict(content)
