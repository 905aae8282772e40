"""The campaign of corruptions judges what it saw."""

from __future__ import annotations

import random

import pytest

from benchmarks.campaign.corruptions import DAMAGES, Seen, judge
from benchmarks.campaign.counts import ONE_MESSAGE, RIGHT, SILENT, TRACEBACK, UNCLEAR

EXPECTED = Seen({"eval": "", "extract": "", "eval again": ""}, {"eval": 0.5, "eval again": 0.5})


@pytest.mark.parametrize(
    ("told", "answers", "ending"),
    [
        ({}, {}, RIGHT),
        ({"eval": "damaged"}, {}, ONE_MESSAGE),
        ({}, {"eval": 0.4}, SILENT),
        ({"eval again": "damaged"}, {"eval": 0.4}, SILENT),
        ({"extract": "traceback: KeyError"}, {}, TRACEBACK),
        ({"eval again": "damaged"}, {}, UNCLEAR),
        ({"extract": "damaged", "eval again": "damaged"}, {}, ONE_MESSAGE),
    ],
)
def test_a_wrong_answer_is_never_counted_as_anything_else(
    told: dict[str, str], answers: dict[str, float], ending: str
) -> None:
    said = {**EXPECTED.told, **told}
    given = {name: a for name, a in EXPECTED.answers.items() if not said[name]}
    assert judge(Seen(said, {**given, **answers}), EXPECTED, is_of_store=True) == ending


@pytest.mark.parametrize("name", [name for name, change in DAMAGES.items() if change])
def test_a_damage_changes_a_file_and_is_drawn_from_the_seed(name: str) -> None:
    change = DAMAGES[name]
    assert change is not None
    content = bytes(range(1, 200))
    damaged = [change(content, random.Random(seed)) for seed in (0, 0, 1)]
    assert damaged[0] == damaged[1] != content
    assert damaged[2] != damaged[0]
