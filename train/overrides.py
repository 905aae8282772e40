"""The arguments of `python -m train`, checked before Hydra composes a config of them.

Hydra's own messages advise what leads into other errors: a plus sign before an unknown key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from pipeline.choices import check_choice, list_choices, suggest
from pipeline.recurrent.spec import NETS, model_options
from pipeline.runs.learning import BatchSpec, OptimizerSpec, ScheduleSpec
from pipeline.tasks.options import TASK_OPTIONS, TOP_OPTIONS
from train.experiments import PREFIX
from train.specs import ComputeSpec

_FLAGS = (
    "-m", "--multirun", "--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve",
    "--info", "-i", "--run", "-r", "--shell-completion", "-sc",
)  # fmt: skip
_HELP = "`python -m train --help`"
_SYNTAX = (
    "Expected key=value; a list as key=[1,2]; quotes around other signs, key='a b'; "
    "several values, key=1,2, only with -m, which trains a grid."
)
# How messages of Hydra's begin.
_SEVERAL = ("Ambiguous value for argument", "Sweep parameters")
_MERGING = "Error merging override "
# Several values by a function of Hydra's, which reads it itself.
_FUNCTION = re.compile(r"(choice|glob|range|interval|shuffle|sort)\(")
# What OmegaConf says for its own developers.
_INTERNAL = re.compile(r"\n *(full_key|object_type|reference_type|ref_type)[:=].*")


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise ValueError for a flag, key or group's choice that is none, with the nearest one.

    Values of keys are not looked at, nor what is of Hydra itself.
    """
    for argument in arguments:
        if argument.startswith("-"):
            check_choice("python -m train", argument.partition("=")[0], _FLAGS)
            continue
        key, sign, value = argument.partition("=")
        if argument.startswith(PREFIX) or key.lstrip("+~").startswith("hydra"):
            continue
        if not sign and not key.startswith(("+", "~")):
            continue  # which Hydra refuses
        _check_key(key, value)
        if key in list_groups():
            _check_group(key, value)


def list_groups() -> dict[str, tuple[str, ...]]:
    """The choices of each group of the config."""
    files = (Path(__file__).parent / "conf").glob("*/*.yaml")
    groups: dict[str, tuple[str, ...]] = {"model": tuple(NETS), "task": tuple(TASK_OPTIONS)}
    for path in sorted(files):
        groups[path.parent.name] = (*groups.get(path.parent.name, ()), path.stem)
    return groups


def list_keys() -> dict[str, list[str]]:
    """All keys that some config has, each with the choices of its group that have it."""
    keys: dict[str, list[str]] = {"seed": [], "budget": [], "out": [], "logger": []}
    for net in NETS:
        for name in model_options(net):
            keys.setdefault(f"model.{name}", []).append(net)
    for task, options in TASK_OPTIONS.items():
        for field in fields(options):
            key = field.name if field.name in TOP_OPTIONS else f"task.{field.name}"
            keys.setdefault(key, []).append(task)
    for group, spec in (
        ("optimizer", OptimizerSpec), ("schedule", ScheduleSpec), ("trainer", BatchSpec),
        ("trainer", ComputeSpec),
    ):  # fmt: skip
        keys |= {f"{group}.{field.name}": [] for field in fields(spec)}
    keys["optimizer.decay"] = ["rmsprop"]
    # Groups choose the names, and the budget the share of an epoch.
    hidden = ("model.name", "optimizer.name", "schedule.epoch_share")
    return {key: choices for key, choices in keys.items() if key not in hidden}


def explain_config_error(error: Exception) -> str:
    """What Hydra or OmegaConf found wrong, in the words of this command."""
    cause, text = error.__cause__, str(error)
    key = getattr(cause, "full_key", None) or getattr(error, "full_key", None)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, found = error.missing_cfg_file.rpartition("/")
        return (
            f"{group}: expected one of {list_choices(error.options)}, found {found!r}."
            f"{suggest(found, error.options)}"
        )
    if isinstance(error, OverrideParseException):
        return f"{error.override}: this cannot be read. {_SYNTAX}"
    if text.startswith(_SEVERAL):
        return f"{text.split(chr(39))[1]}: several values for one run. {_SYNTAX}"
    if text.startswith(_MERGING):
        return f"{text.removeprefix(_MERGING)}: expected a value of the kind that {_HELP} shows."
    if text.startswith("Could not override") and key:
        return _explain_absent(key)
    told = [text, *([str(cause)] if cause else [])]
    text = "\n".join(_INTERNAL.sub("", t.split("\nConfig search path")[0]) for t in told)
    return f"{key}: {text}" if isinstance(error, OmegaConfBaseException) and key else text


def _explain_absent(key: str) -> str:
    """Why this config has no such key, although others have, or none."""
    known = list_keys()
    if not known.get(key):
        return _refuse_key(key)
    group = "task" if key in TOP_OPTIONS else key.partition(".")[0]
    return (
        f"{key}: not of the {group} that was chosen, only of {list_choices(known[key])}.\n"
        f"Leave it out, or pass {group}={known[key][0]}."
    )


def _check_key(key: str, value: str) -> None:
    """Refuse a key that is none, and one that is added, taken away or put elsewhere."""
    name, _, place = key.lstrip("+~").partition("@")
    if name not in list_keys() and name not in list_groups():
        raise ValueError(_refuse_key(name))
    if key != name or place:
        raise ValueError(
            f"{key}: a config has the keys it has, in their place.\n"
            f"Pass {name}={value or 'VALUE'}, without + ~ @."
        )


def _refuse_key(key: str) -> str:
    """What is said of a key that is none: those beside it, or the nearest of all."""
    known = [*list_keys(), *list_groups(), PREFIX.rstrip("=")]
    section, _, name = key.rpartition(".")
    near = [k for k in known if k.rpartition(".")[2] == name]
    if section in list_groups():
        beside = [k for k in known if k.startswith(f"{section}.")]
        return f"{key}: no such key, expected one of {list_choices(beside)}.{suggest(key, beside)}"
    told = f" Did you mean {near[0]}?" if near and name else suggest(key, known)
    return f"{key}: no such key.{told}\n{_HELP} lists all."


def _check_group(group: str, value: str) -> None:
    if not _FUNCTION.match(value):
        choices = list_groups()[group]
        for name in [value] if value.startswith(("[", "{")) else value.split(","):
            check_choice(group, name.strip("'\""), choices)
