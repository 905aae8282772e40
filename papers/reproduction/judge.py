"""What the lines say of a paper: scores of trials under a reading, a verdict for each claim."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from papers.book import Claim, Reading, Trial
from papers.reproduction.books import Paper
from papers.reproduction.cells import NUM_CLASSES
from papers.reproduction.lines import Line
from papers.verdicts import Verdict, decide
from train.experiments import PROTOCOLS

_FEATURES = "ucf101"
_IMAGES = ("mnist", "permuted-mnist")
# Experiments whose sequences are from elsewhere: those of a row that share their data.
_FAMILIES = ((_FEATURES, "arrow-of-time"), ("ptb-words",), ("sentences",), ("speech-frames",))
_LEAST_WORDS = 700_000_000
"""Tokens of the 1 Billion Word benchmark's training part are some 0.8 billion."""
_TIMIT_SPEAKERS = 462


def _is_of_clips(line: Line) -> bool:
    return line.experiment.startswith(_FAMILIES[0])


def _is_of(line: Line, family: tuple[str, ...]) -> bool:
    return line.experiment.startswith(family)


@dataclass(frozen=True)
class Found:
    """The lines of one budget; of UCF-101, a text or speech those of one collection.

    `data_of` says which lines a trial's scores come from; see `find`.
    """

    lines: tuple[Line, ...]
    budget: float

    @cached_property
    def _by_trial(self) -> Mapping[tuple[str, str], Sequence[Line]]:
        found = defaultdict(list)
        for line in self.lines:
            found[line.experiment, line.settings].append(line)
        return {key: sorted(lines, key=lambda line: line.seed) for key, lines in found.items()}

    def of(self, trial: Trial) -> Sequence[Line]:
        """The trial's lines by seed."""
        return self._by_trial.get((trial.name, " ".join(trial.settings)), ())

    @property
    def clips(self) -> str:
        """What the clips of UCF-101 were, or ""."""
        return next((line.data for line in self.lines if _is_of_clips(line)), "")

    def data_of(self, experiment: str) -> str:
        """What the lines of an experiment were made on, or ""."""
        return next(
            (line.data for line in self.lines if line.experiment.startswith(experiment)), ""
        )

    @property
    def num_classes(self) -> int:
        """How many of UCF-101's classes they have, 0 without any."""
        return int(self.clips.split(" ")[0]) if self.clips else 0


def find(lines: Sequence[Line], *, budget: float, clips: str = "") -> Found:
    """The lines of a budget, of each family those on the data that most of them are of.

    Of UCF-101 those on `clips`, where there are any.
    """
    found = [line for line in lines if line.budget == budget]
    for family in _FAMILIES:
        counts = Counter(line.data for line in found if _is_of(line, family))
        most = max(counts, key=lambda data: counts[data], default="")
        chosen = clips if _FEATURES in family and clips in counts else most
        found = [line for line in found if line.data == chosen or not _is_of(line, family)]
    return Found(tuple(found), budget)


@dataclass(frozen=True)
class FoundScores:
    """The scores of trials under a reading."""

    found: Found
    reading: Reading | None = None

    def test(self, trial: Trial) -> Mapping[int, float]:
        worst = PROTOCOLS[trial.protocol].worst
        return {s.seed: worst if s.test is None else s.test for s in self._of(trial)}

    def validation(self, trial: Trial) -> Mapping[int, float]:
        worst = PROTOCOLS[trial.protocol].worst
        return {s.seed: worst if s.validation is None else s.validation for s in self._of(trial)}

    def _of(self, trial: Trial) -> Sequence[Line]:
        return self.found.of(trial if self.reading is None else self.reading.apply(trial))


@dataclass(frozen=True)
class Judged:
    """A claim, its verdict under the default reading, and under those that have any line."""

    claim: Claim
    task: str
    verdict: Verdict
    under: Mapping[str, Verdict]
    elsewhere: Verdict | None = None
    """What the numbers would say where they are not about the paper's data."""


def judge(paper: Paper, found: Found) -> list[Judged]:
    """Every claim of the paper's experiments, in its order."""
    return [
        _judge(claim, task, found, paper.readings)
        for task, claims in paper.claims.items()
        for claim in claims
    ]


def _judge(claim: Claim, task: str, found: Found, readings: Mapping[str, Reading]) -> Judged:
    if claim.measure is None:
        unsaid = "no number is told that would decide it"
        return Judged(claim, task, Verdict("cannot be tested here", unsaid), {})
    quantities = claim.measure(FoundScores(found))
    missing = _find_missing(task, found)
    under = {}
    for name in claim.readings:
        measured = claim.measure(FoundScores(found, readings[name]))
        if any(q.of_seeds for q in measured) and measured != quantities:
            under[name] = decide(measured, missing=missing)
    verdict = decide(quantities, missing=missing)
    has_runs = missing and any(q.of_seeds for q in quantities)
    return Judged(claim, task, verdict, under, decide(quantities) if has_runs else None)


def _find_missing(task: str, found: Found) -> str:
    """Why the lines are not about what the paper says, or ""."""
    if found.budget != 1:
        return f"these runs had a share of {found.budget:g} of the paper's training"
    if task == _FEATURES and found.num_classes < NUM_CLASSES:
        has = f"the clips at hand are {found.clips}" if found.clips else "no clips were at hand"
        return f"it is about all {NUM_CLASSES} classes of UCF-101; {has}"
    if task in _IMAGES and not any(line.data == "MNIST" for line in found.lines):
        return "no run on MNIST is among the results: pass --mnist"
    if task == "words":
        return _find_missing_words(found)
    if task == "frames" and _count(found.data_of("speech-frames")) != _TIMIT_SPEAKERS:
        has = _say_data(found.data_of("speech-frames"), "speech")
        return f"it is about TIMIT, whose training part has {_TIMIT_SPEAKERS} speakers; {has}"
    return ""


def _find_missing_words(found: Found) -> str:
    data = found.data_of("sentences")
    if _count(data) >= _LEAST_WORDS:
        return ""
    has = _say_data(data, "text")
    return f"it is about the 1 Billion Word benchmark, some 0.8 billion words of training; {has}"


def _count(data: str) -> int:
    """The number that a description of texts or speech begins with."""
    first = data.split(" ", maxsplit=1)[0].replace(",", "")
    return int(first) if first.isdecimal() else 0


def _say_data(data: str, what: str) -> str:
    return f"the {what} at hand is {data}" if data else f"no {what} was at hand"
