"""Runs that earlier versions trained: their config.yaml and provenance.json as today's types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.clips import digest_split, is_split_file
from pipeline.places import Place
from pipeline.recurrent.spec import NetSpec
from pipeline.runs.config import RunConfig, TaskConfig
from pipeline.runs.learning import BatchSpec, OptimizerSpec, ScheduleSpec
from pipeline.runs.provenance import Provenance, Session
from pipeline.tasks import Origin

_PLACES = ("features", "root")
# What stood for the features of a run that was given none: the only store there was.
_ANY_STORE = "features/*"


def is_legacy(content: Mapping[str, Any]) -> bool:
    """Whether a config or provenance is of the form that had no `format`."""
    return "format" not in content


def upgrade_config(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> RunConfig:
    """The RunConfig of an earlier version's config; its provenance described its features."""
    task = {key: value for key, value in config["task"].items() if key not in _PLACES}
    split, trainer = task.get("split", ""), config["trainer"]
    digest = ""
    if split and is_split_file(split):
        task["split"], digest = Path(split).stem, _digest(split)
    return RunConfig(
        seed=config["seed"],
        budget=config["budget"],
        task=TaskConfig.make(task.pop("name"), task),
        split_digest=digest,
        origin=Origin.from_dict(provenance),
        labels=tuple(config["labels"] or ()),
        net=NetSpec(**config["net"]),
        optimizer=_upgrade_optimizer(config["optimizer"]),
        schedule=_upgrade_schedule(config["schedule"]),
        batch=BatchSpec(**{f.name: trainer[f.name] for f in fields(BatchSpec)}),
    )


def _upgrade_optimizer(section: Mapping[str, Any]) -> OptimizerSpec:
    """The optimizer; a way of clipping stood there also where nothing was clipped."""
    unused = {"clip_by": None} if section["clip"] is None else {}
    return OptimizerSpec(**{**section, **unused})


def _upgrade_schedule(section: Mapping[str, Any]) -> ScheduleSpec:
    """The schedule; a cooling stood there also with one phase, where it had no effect."""
    phases = tuple(section["phase_epochs"])
    return ScheduleSpec(phases, section["cooling"] if len(phases) > 1 else None)


def _digest(split: str) -> str:
    """The digest of a split file where it lies where it was given; else only its name is known."""
    return digest_split(split) if Path(split).is_file() else ""


def upgrade_provenance(provenance: Mapping[str, Any], config: Mapping[str, Any]) -> Provenance:
    """The Provenance of an earlier version's; its config, {} if lost, held paths and machine."""
    task, trainer = config.get("task", {}), config.get("trainer", {})
    places = {name: Place(str(task[name]), "") for name in _PLACES if task.get(name)}
    if "features" in task and not task["features"]:
        places["features"] = Place(_ANY_STORE, "")
    if is_split_file(task.get("split", "draw")):
        places["split"] = Place(task["split"], "")
    learned = {f.name for f in fields(BatchSpec)}
    return Provenance(
        num_parameters=provenance["num_parameters"],
        multiply_adds_per_step=provenance["multiply_adds_per_step"],
        use=provenance["use"],
        sources={part: tuple(names) for part, names in provenance["sources"].items()},
        places=places,
        sessions=(
            Session(
                first_epoch=0,
                device="unknown",
                compute={key: value for key, value in trainer.items() if key not in learned},
                versions=provenance["versions"],
                processor=provenance["processor"],
                git_commit=provenance["git_commit"],
            ),
        ),
        train_seconds=provenance.get("train_seconds"),
    )
