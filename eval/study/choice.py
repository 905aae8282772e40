"""Each net's best setting, chosen by its validation score alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from eval.predictions.predictions import is_same_test
from eval.scores.rows import Result, Row
from eval.scores.scores import Score

LEARNING_RATE, DROPOUT = "optimizer.lr", "model.dropout"
TIE_RULE = (
    "Ties go to the smaller learning rate, then the smaller dropout, then to the setting that "
    "comes first when all hyper-parameters are written out in alphabetical order."
)
# What says which task a run was trained on; all other settings are hyper-parameters.
_OF_TASK = ("task.", "split", "features.", "labels")


@dataclass(frozen=True)
class Setting:
    """Runs of one net on one task that differ only in their seed, with answers on validation.

    `results` holds the runs without an answer too.
    """

    results: tuple[Result, ...]

    @property
    def validated(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.predictions is not None)

    @cached_property
    def score(self) -> Score | None:
        """The leading score on validation, over the seeds that have one; None without any."""
        row = Row(self.results[0].model, self.validated)
        return row.scores[0] if self.validated else None

    def value(self, key: str) -> float | None:
        """The number of this hyper-parameter, or None where it is none."""
        value = self.results[0].settings.get(key)
        return float(value) if isinstance(value, int | float) else None

    @property
    def order(self) -> tuple[float, float, str]:
        """The place among settings of equal score, as TIE_RULE says."""
        numbers = [self.value(key) for key in (LEARNING_RATE, DROPOUT)]
        first, second = (float("inf") if number is None else number for number in numbers)
        return first, second, json.dumps(dict(self.results[0].settings), sort_keys=True)


@dataclass(frozen=True)
class NetStudy:
    """The settings of one net on one task, in the order of TIE_RULE."""

    model: str
    settings: tuple[Setting, ...]

    @cached_property
    def chosen(self) -> Setting | None:
        """The setting with the best mean over its seeds; None where no run has a score."""
        scored = [(s, s.score) for s in self.settings if s.score is not None]
        if not scored:
            return None
        sign = 1.0 if scored[0][1].is_share else -1.0
        return max(scored, key=lambda pair: sign * pair[1].estimate.value)[0]  # the first in a tie

    @property
    def num_seeds(self) -> int:
        """The most seeds that a setting has a validation score for."""
        return max(len(setting.validated) for setting in self.settings)

    @property
    def varied(self) -> tuple[str, ...]:
        """The hyper-parameters that the settings differ in."""
        return _find_varied([setting.results[0] for setting in self.settings])


@dataclass(frozen=True)
class TaskStudy:
    """The nets that were trained on one task; `name` tells it from the study's other tasks."""

    name: str
    nets: tuple[NetStudy, ...]

    @property
    def results(self) -> tuple[Result, ...]:
        return tuple(r for net in self.nets for s in net.settings for r in s.results)


def make_task_studies(results: Sequence[Result]) -> tuple[TaskStudy, ...]:
    """The results, with predictions of the validation part, grouped by task, net and setting.

    Raises ValueError for runs that were validated on unlike sequences, or twice the same run.
    """
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        own = {key: v for key, v in result.settings.items() if key.startswith(_OF_TASK)}
        groups[json.dumps(own, sort_keys=True)].append(result)
    for group in groups.values():
        _refuse_unlike(group)
    firsts = [group[0] for group in groups.values()]
    return tuple(
        TaskStudy(_name_task(group[0], firsts), _make_nets(group)) for group in groups.values()
    )


def _refuse_unlike(results: Sequence[Result]) -> None:
    answered = [(r, r.predictions) for r in results if r.predictions is not None]
    for result, predictions in answered[1:]:
        first, its = answered[0]
        if not is_same_test(its, predictions):
            raise ValueError(
                f"{first.folder} and {result.folder} were trained on one task, but answered other "
                f"sequences of its validation part ({len(its.ids)} and {len(predictions.ids)}): "
                f"their scores cannot be compared.\n"
                f"Pass --features with one store for all, or study them apart."
            )


def _make_nets(results: Sequence[Result]) -> tuple[NetStudy, ...]:
    nets: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        home = nets[result.model][json.dumps(dict(result.settings), sort_keys=True)]
        twin = next((r for r in home if r.seed == result.seed), None)
        if twin is not None:
            raise ValueError(
                f"{twin.folder} and {result.folder} are runs of the same config and seed "
                f"({result.seed}): as seeds they would count twice. Move one of them away."
            )
        home.append(result)
    return tuple(NetStudy(model, _order(groups.values())) for model, groups in nets.items())


def _order(groups: Iterable[Sequence[Result]]) -> tuple[Setting, ...]:
    settings = [Setting(tuple(sorted(group, key=lambda r: r.seed or 0))) for group in groups]
    return tuple(sorted(settings, key=lambda setting: setting.order))


def _find_varied(results: Sequence[Result]) -> tuple[str, ...]:
    keys = sorted({key for result in results for key in result.settings})
    return tuple(key for key in keys if len({json.dumps(r.settings.get(key)) for r in results}) > 1)


def _name_task(result: Result, firsts: Sequence[Result]) -> str:
    """`addition`, or `addition (length=50)` where another of that name differs in it."""
    name = result.settings["task.name"]
    namesakes = [r for r in firsts if r.settings["task.name"] == name]
    varied = [key for key in _find_varied(namesakes) if key.startswith(_OF_TASK)]
    told = [
        f"{key.removeprefix('task.')}={result.settings[key]}"
        for key in varied
        if key != "labels" and key in result.settings
    ]
    return f"{name} ({', '.join(told)})" if told else str(name)
