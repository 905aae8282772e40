"""The cells of a paper: every trial under every reading with every seed, as runs to be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from papers.book import Experiment, Reading, Trial
from pipeline.choices import check_choice
from pipeline.features import FeatureStore
from pipeline.runs import RunConfig
from pipeline.tasks.mnist import find_folder
from pipeline.tasks.options import TASK_OPTIONS
from train.config import compose_config, quote
from train.experiments import PROTOCOLS
from train.training import check_config

DEFAULT = "default"
NUM_CLASSES = 101
# The paper's 256 is for some 9,500 clips.
_SAMPLE_BATCH = 16
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Data:
    """What is at hand beside what the program draws: a feature store of UCF-101, MNIST's files."""

    features: Path | None = None
    split: str = "ucf101-split1"
    mnist: Path | None = None

    def check(self) -> None:
        """Raise ValueError where what is given is not what it should be."""
        if self.mnist is not None:
            find_folder(str(self.mnist))
        if self.features is not None:
            FeatureStore(self.features)

    def missing(self, trial: Trial) -> str:
        """What the trial has no data without, and how it is given; "" where all is at hand."""
        task = PROTOCOLS[trial.protocol].task
        if _reads_features(task) and self.features is None:
            return "no features of UCF-101's clips: pass --features STORE (python -m extract)"
        if _reads_images(task) and self.mnist is None:
            return "no MNIST: pass --mnist FOLDER with its four idx files"
        return ""

    def arguments(self, trial: Trial) -> tuple[str, ...]:
        """What `python -m train` is told of the data of this trial."""
        task = PROTOCOLS[trial.protocol].task
        if _reads_images(task):
            return (f"task.root={quote(self.mnist or Path())}",)
        if not _reads_features(task):
            return ()
        sample = ("task.classes=present", f"trainer.batch_size={_SAMPLE_BATCH}")
        is_whole = self._num_classes == NUM_CLASSES
        return (
            f"features={quote(self.features or Path())}",
            f"split={quote(self.split)}",
            *(() if is_whole else sample),
        )  # fmt: skip

    def describe(self, trial: Trial) -> str:
        """What the ledger calls the data of the trial."""
        task = PROTOCOLS[trial.protocol].task
        if _reads_images(task):
            return "MNIST"
        if not _reads_features(task):
            return ""
        return self.clips

    @property
    def clips(self) -> str:
        """What the ledger calls the clips, "" without any."""
        if self._store is None:
            return ""
        return (
            f"{self._num_classes} classes, {self.num_clips} clips, {self.split}, "
            f"{self._store.spec.backbone}"
        )

    @property
    def num_clips(self) -> int:
        """The clips that have features."""
        return 0 if self._store is None else len(self._store.records)

    @cached_property
    def _num_classes(self) -> int:
        records = self._store.records.values() if self._store is not None else ()
        return len({record.clip.label for record in records})

    @cached_property
    def _store(self) -> FeatureStore | None:
        return None if self.features is None else FeatureStore(self.features)


def _reads_features(task: str) -> bool:
    return hasattr(TASK_OPTIONS[task](), "features")


def _reads_images(task: str) -> bool:
    return hasattr(TASK_OPTIONS[task](), "root")


@dataclass(frozen=True)
class Cell:
    """A run that a paper needs: its trial, under a reading, with a seed."""

    trial: Trial
    reading: str
    config: RunConfig
    arguments: tuple[str, ...]
    """All that `python -m train` is given but seed and folder."""
    data: str
    num_clips: int = 0

    @property
    def name(self) -> str:
        """For people: `addition-irnn-150 seed 0`."""
        budget = [] if self.config.budget == 1 else [f"budget {self.config.budget:g}"]
        return " ".join(
            [self.trial.name, *self.trial.settings, *budget, f"seed {self.config.seed}"]
        )

    def compose(self, runs: Path) -> Mapping[str, Any]:
        """The config that `train_run` takes, with its folder in `runs`."""
        return compose_config([*self.arguments, f"seed={self.config.seed}", f"out={quote(runs)}"])


@dataclass(frozen=True)
class Plan:
    """What is to be run of a paper: cells in the order of `list_cells`."""

    experiments: Mapping[str, Experiment]
    readings: Mapping[str, Reading]
    data: Data
    num_seeds: int
    budget: float

    def trials(self) -> Iterator[tuple[str, Trial, float]]:
        """Every trial once, with its reading and budget; those of the default reading come first.

        Readings are of the paper's own experiments, not of ours.
        """
        seen = set()
        for name, reading in {DEFAULT: None, **self.readings}.items():
            for experiment in self.experiments.values():
                if reading is not None and experiment.is_ours:
                    continue
                for trial in experiment.trials:
                    changed = trial if reading is None else reading.apply(trial)
                    if (changed, experiment.budget) not in seen:
                        seen.add((changed, experiment.budget))
                        yield name, changed, experiment.share(self.budget)

    def missing(self) -> dict[str, list[Trial]]:
        """The trials without data, by what is missing."""
        found: dict[str, list[Trial]] = {}
        for _, trial, _ in self.trials():
            if missing := self.data.missing(trial):
                found.setdefault(missing, []).append(trial)
        return found

    def cells(self) -> list[Cell]:
        """The cells whose data are at hand: seed after seed, in each the default reading first."""
        firsts = [
            self._compose(trial, reading, budget)
            for reading, trial, budget in self.trials()
            if not self.data.missing(trial)
        ]
        return [
            replace(cell, config=replace(cell.config, seed=seed))
            for seed in range(self.num_seeds)
            for cell in firsts
        ]

    def _compose(self, trial: Trial, reading: str, budget: float) -> Cell:
        arguments = (
            f"+experiment={trial.name}", *trial.settings, *self.data.arguments(trial),
            f"budget={budget:g}",
        )  # fmt: skip
        training = check_config(compose_config(arguments))
        config = training.config
        for part in _PARTS:
            if not training.task.use(part).used:
                raise ValueError(
                    f"--split {self.data.split}: expected clips in its {part} part, found none in "
                    f"{self.data.features}.\nPass --split with another, such as ucf101-split2."
                )
        num_clips = self.data.num_clips if config.origin.features is not None else 0
        return Cell(trial, reading, config, arguments, self.data.describe(trial), num_clips)


def choose(known: Mapping[str, Experiment], only: Sequence[str] | None) -> Mapping[str, Experiment]:
    """The experiments of these names, all without any; ValueError for an unknown one."""
    for name in only or ():
        check_choice("--only", name, known)
    return {name: known[name] for name in known if not only or name in only}
