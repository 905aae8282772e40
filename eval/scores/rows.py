"""The rows of a table of runs: seeds of one config joined, unlike tests told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.predictions.frames import ALL
from eval.predictions.predictions import BY_STEP, Predictions, is_same_test
from eval.scores.scores import Score, score
from pipeline.runs import Provenance, Run, RunConfig

_BUDGET = "budget"
_MOST_SETTINGS = 3


@dataclass(frozen=True)
class Result:
    """What came of one run: predictions, or in `state` why there are none.

    What is not known of a file of predictions without its run is None.
    """

    model: str
    folder: Path
    predictions: Predictions | None
    state: str = ""
    config: RunConfig | None = None
    provenance: Provenance | None = None
    is_beside: bool = False
    """Of no run, but shown beside those that were asked for."""

    @property
    def seed(self) -> int | None:
        return None if self.config is None else self.config.seed

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Runs of equal settings differ only in their seed; {} where none are known."""
        return {} if self.config is None else self.config.settings()

    @property
    def num_parameters(self) -> int | None:
        return None if self.provenance is None else self.provenance.num_parameters

    @property
    def multiply_adds(self) -> int | None:
        """Of one step."""
        return None if self.provenance is None else self.provenance.multiply_adds_per_step

    @property
    def train_seconds(self) -> float | None:
        return None if self.provenance is None else self.provenance.train_seconds


@dataclass(frozen=True)
class Row:
    """A row of the table: one run, or the seeds of one config."""

    name: str
    results: tuple[Result, ...]

    @property
    def state(self) -> str:
        """Why the row has no score, or ""."""
        return self.results[0].state

    @property
    def seeds(self) -> tuple[Predictions, ...]:
        return tuple(r.predictions for r in self.results if r.predictions is not None)

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        return score(self.seeds) if self.seeds else ()

    @property
    def num_parameters(self) -> int | None:
        return self.results[0].num_parameters

    @property
    def multiply_adds(self) -> int | None:
        return self.results[0].multiply_adds

    @property
    def noun(self) -> str:
        """What its task's sequences are called: clips, or sequences."""
        config = self.results[0].config
        if config is None:
            return "sequences" if self.seeds and self.seeds[0].kind == BY_STEP else "clips"
        return "clips" if config.task.name == "clips" else "sequences"

    @property
    def is_of_clips(self) -> bool:
        """Whether its sequences are features of clips, so that several may have one source."""
        config = self.results[0].config
        return config is None or config.origin.features is not None

    @property
    def train_seconds(self) -> float | None:
        """The mean training time of its runs."""
        known = [r.train_seconds for r in self.results if r.train_seconds is not None]
        return sum(known) / len(known) if known else None


def describe_run(run: Run, predictions: Predictions | None, state: str = "") -> Result:
    """The result of a run."""
    return Result(run.config.net.name, run.folder, predictions, state, run.config, run.provenance)


def mark_budget(result: Result) -> str:
    """`budget 0.1` for a run that trained for a share of its preset's epochs; "" for a whole one.

    A score after a share of the training is no score of the preset.
    """
    if result.config is None or result.config.budget == 1:
        return ""
    return f"budget {result.config.budget:g}"


def mark_frames(result: Result) -> str:
    """`frames shuffled` where the frames were not all read in their order; else ""."""
    if result.predictions is None or result.predictions.frames == ALL:
        return ""
    return f"frames {result.predictions.frames}"


def make_rows(results: Sequence[Result]) -> tuple[Row, ...]:
    """The results in rows, in their order; seeds of one config on the same clips share a row.

    Raises ValueError for two runs of the same config and seed: their spread would be none.
    """
    groups: list[list[Result]] = []
    for result in results:
        home = next((group for group in groups if _is_joined(group[0], result)), None)
        if home is None:
            groups.append([result])
            continue
        twin = next((r for r in home if r.seed == result.seed), None)
        if twin is not None:
            raise ValueError(
                f"{twin.folder} and {result.folder} are runs of the same config and seed "
                f"({result.seed}): as seeds they would count twice. Give only one of them."
            )
        home.append(result)
    rows = [Row(group[0].model, tuple(group)) for group in groups]
    return tuple(replace(row, name=_name(row, rows)) for row in rows)


def sort_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows by their leading score, the best first, then those without one.

    In the order given where their leading scores have unlike names.
    """
    scored = [row for row in rows if row.scores]
    if len({row.scores[0].name for row in scored}) > 1:
        return tuple(rows)
    better = sorted(scored, key=_goodness, reverse=True)
    return (*better, *(row for row in rows if not row.scores))


def _goodness(row: Row) -> float:
    first = row.scores[0]
    return first.estimate.value if first.is_share else -first.estimate.value


def _is_joined(first: Result, second: Result) -> bool:
    if first.predictions is None or second.predictions is None:
        return False
    if first.config is None or second.config is None:
        return False
    if first.config.learned() != second.config.learned():
        return False
    if first.predictions.frames != second.predictions.frames:
        return False
    return is_same_test(first.predictions, second.predictions)


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The model's name, with what sets the row apart from others of the same model."""
    own = row.results[0]
    others = [r.results[0] for r in rows if r is not row and r.results[0].model == own.model]
    differing = sorted(
        key
        for key in {key for r in (own, *others) for key in r.settings} - {_BUDGET}
        if any(own.settings.get(key) != other.settings.get(key) for other in others)
    )
    named = [f"{key}={_plain(own.settings.get(key))}" for key in differing[:_MOST_SETTINGS]]
    twins = [other for other in others if own.settings == other.settings]
    if any(mark_frames(own) == mark_frames(twin) for twin in twins):
        named.append(f"seed={','.join(str(result.seed) for result in row.results)}")
    more = ["..."] if len(differing) > _MOST_SETTINGS else []
    marks = [mark for mark in (mark_budget(own), mark_frames(own)) if mark] + named + more
    return f"{row.name} ({', '.join(marks)})" if marks else row.name


def _plain(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:21] + "..."
