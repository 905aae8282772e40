"""The rows of a table of runs: seeds of one config joined, unlike tests told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eval.predictions.predictions import Predictions, is_same_test
from eval.scores.scores import Score, score
from pipeline.runs import Run

BUDGET = "budget"
_MOST_SETTINGS = 3


@dataclass(frozen=True)
class Result:
    """What came of one run: predictions, or in `state` why there are none.

    Runs of equal `settings` differ only in their `seed`. What is not known of a file of predictions
    without its run is None.
    """

    model: str
    folder: Path
    seed: int | None
    settings: Mapping[str, str]
    num_parameters: int | None
    train_seconds: float | None
    predictions: Predictions | None
    state: str = ""
    multiply_adds: int | None = None
    """Of one step."""


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
        task = self.results[0].settings.get("task.name", '"clips"')
        return "clips" if task == '"clips"' else "sequences"

    @property
    def train_seconds(self) -> float | None:
        """The mean training time of its runs."""
        known = [r.train_seconds for r in self.results if r.train_seconds is not None]
        return sum(known) / len(known) if known else None


def describe_run(run: Run, predictions: Predictions | None, state: str = "") -> Result:
    """The result of a run."""
    seconds = run.provenance.get("train_seconds")
    num = run.provenance.get("num_parameters")
    work = run.provenance.get("multiply_adds_per_step")
    return Result(
        model=run.model,
        folder=run.folder,
        seed=run.seed,
        settings=_settings(run),
        num_parameters=None if num is None else int(num),
        train_seconds=None if seconds is None else float(seconds),
        predictions=predictions,
        state=state,
        multiply_adds=None if work is None else int(work),
    )


def mark_budget(result: Result) -> str:
    """`budget 0.1` for a run that trained for a share of its preset's epochs; "" for a whole one.

    A score after a share of the training is no score of the preset.
    """
    budget = json.loads(result.settings.get(BUDGET, "1"))
    return "" if budget == 1 else f"budget {budget:g}"


def _settings(run: Run) -> dict[str, str]:
    """The config without the seed, flat; the features by what they are, not by where they lie."""
    config = {key: value for key, value in run.config.items() if key != "seed"}
    config["task"] = {key: value for key, value in run.task.items() if key != "features"}
    flat = {key: json.dumps(value, default=str) for key, value in _flatten(config)}
    features = dict(run.provenance.get("features") or {})
    features.pop("versions", None)
    return {**flat, "features": json.dumps(features, sort_keys=True)} if features else flat


def _flatten(section: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in section.items():
        name = f"{prefix}{key}"
        flat += _flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return flat


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


def _is_joined(first: Result, second: Result) -> bool:
    if first.predictions is None or second.predictions is None or first.seed is None:
        return False
    if dict(first.settings) != dict(second.settings):
        return False
    return is_same_test(first.predictions, second.predictions)


def _name(row: Row, rows: Sequence[Row]) -> str:
    """The model's name, with what sets the row apart from others of the same model."""
    own = row.results[0]
    others = [r.results[0] for r in rows if r is not row and r.results[0].model == own.model]
    differing = sorted(
        key
        for key in {key for r in (own, *others) for key in r.settings} - {BUDGET}
        if any(own.settings.get(key) != other.settings.get(key) for other in others)
        # The net's section repeats the model's, with the sizes that the data give.
        and f"model.{key.removeprefix('net.')}" not in own.settings.keys() - {key}
    )
    named = [f"{key}={_plain(own.settings.get(key))}" for key in differing[:_MOST_SETTINGS]]
    if any(own.settings == other.settings for other in others):
        named.append(f"seed={','.join(str(result.seed) for result in row.results)}")
    more = ["..."] if len(differing) > _MOST_SETTINGS else []
    marks = ([mark] if (mark := mark_budget(own)) else []) + named + more
    return f"{row.name} ({', '.join(marks)})" if marks else row.name


def _plain(value: str | None) -> str:
    text = "none" if value is None else value.strip('"')
    return text if len(text) <= 24 else text[:21] + "..."
