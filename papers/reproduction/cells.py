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
from pipeline.tasks.speech import SpeechTask
from pipeline.tasks.task import Task
from pipeline.tasks.words import WordsTask
from pipeline.texts import find_parts
from train.config import compose_config, quote
from train.experiments import PROTOCOLS
from train.training import check_config

DEFAULT = "default"
NUM_CLASSES = 101
# The paper's 256 is for some 9,500 clips.
_SAMPLE_BATCH = 16
# Of fewer speakers than this a tenth, of one or two, would say little.
_MANY_SPEAKERS = 100
_FEW_SPEAKERS = ("task.num_val=2", "task.split_seed=1")
_PARTS = ("train", "val", "test")
# The option that gives the text of a protocol, and what it is.
_TEXTS = {
    "ptb-words": ("words", "Penn Treebank"),
    "sentences": ("sentences", "sentences of the 1 Billion Word benchmark"),
}


@dataclass(frozen=True)
class Data:
    """What is at hand beside what the program draws: stores of features, folders of files."""

    features: Path | None = None
    split: str = "ucf101-split1"
    mnist: Path | None = None
    words: Path | None = None
    sentences: Path | None = None
    speech: Path | None = None

    def check(self) -> None:
        """Raise ValueError where what is given is not what it should be."""
        if self.mnist is not None:
            find_folder(str(self.mnist))
        for folder in (self.words, self.sentences):
            if folder is not None:
                find_parts(str(folder), held_out=None)
        for store in (self.features, self.speech):
            if store is not None:
                FeatureStore(store)

    def missing(self, trial: Trial) -> str:
        """What the trial has no data without, and how it is given; "" where all is at hand."""
        place, missing = self._place(trial)
        return missing if place is None else ""

    def _place(self, trial: Trial) -> tuple[Path | None, str]:
        """Where the data of a trial lie, and what to say without; here where the program draws."""
        task = PROTOCOLS[trial.protocol].task
        mnist = (self.mnist, "no MNIST: pass --mnist FOLDER with its four idx files")
        places = {
            "mnist": mnist,
            "permuted-mnist": mnist,
            "speech-frames": (
                self.speech,
                "no features of speech: pass --speech STORE (python -m extract --speech)",
            ),
        }
        if task in places:
            return places[task]
        if task == "words":
            option, what = _TEXTS[trial.protocol]
            return getattr(self, option), f"no {what}: pass --{option} FOLDER with its texts"
        if _reads_features(task):
            missing = "no features of UCF-101's clips: pass --features STORE (python -m extract)"
            return self.features, missing
        return Path(), ""

    def arguments(self, trial: Trial) -> tuple[str, ...]:
        """What `python -m train` is told of the data of this trial."""
        task, (place, _) = PROTOCOLS[trial.protocol].task, self._place(trial)
        if hasattr(TASK_OPTIONS[task](), "root"):
            return (f"task.root={quote(place or Path())}",)
        if task == "speech-frames":
            few = () if self._num_speakers >= _MANY_SPEAKERS else _FEW_SPEAKERS
            return (f"features={quote(place or Path())}", *few)
        if not _reads_features(task):
            return ()
        sample = ("task.classes=present", f"trainer.batch_size={_SAMPLE_BATCH}")
        is_whole = self._num_classes == NUM_CLASSES
        return (
            f"features={quote(self.features or Path())}",
            f"split={quote(self.split)}",
            *(() if is_whole else sample),
        )  # fmt: skip

    def describe(self, trial: Trial, task: Task) -> str:
        """What the ledger calls the data of the trial; of a text and of speech a number first."""
        name = PROTOCOLS[trial.protocol].task
        if name in ("mnist", "permuted-mnist"):
            return "MNIST"
        if isinstance(task, WordsTask):
            folder = self._place(trial)[0] or Path()
            return f"{len(task.tokens('train')):,} words of training, {folder.name}"
        if isinstance(task, SpeechTask):
            num_train, num_test = (len(set(task.sources(part))) for part in ("train", "test"))
            num = len(task.labels)
            return f"{num_train} speakers of training, {num_test} of test, {num} phones"
        return self.clips if _reads_features(name) else ""

    @cached_property
    def _num_speakers(self) -> int:
        records = FeatureStore(self.speech).records.values() if self.speech is not None else ()
        return len({record.clip.group for record in records})

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
    num_steps: int = 0

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
        data = self.data.describe(trial, training.task)
        return Cell(trial, reading, config, arguments, data, *self._count(trial, training.task))

    def _count(self, trial: Trial, task: Task) -> tuple[int, int]:
        """The clips, or the steps, that an epoch of the trial reads; 0 where the config says it."""
        if isinstance(task, WordsTask | SpeechTask):
            return 0, int(task.sequences("train").lengths.sum())
        return (self.data.num_clips if _reads_features(PROTOCOLS[trial.protocol].task) else 0), 0


def choose(known: Mapping[str, Experiment], only: Sequence[str] | None) -> Mapping[str, Experiment]:
    """The experiments of these names, all without any; ValueError for an unknown one."""
    for name in only or ():
        check_choice("--only", name, known)
    return {name: known[name] for name in known if not only or name in only}
