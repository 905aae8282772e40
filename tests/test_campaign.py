"""The campaign counts what it sees, and sees what should not be."""

from __future__ import annotations

import pytest

from benchmarks.campaign.config_cases import Case, make_cases
from benchmarks.campaign.configs import judge
from benchmarks.campaign.counts import (
    HANG,
    ONE_MESSAGE,
    RIGHT,
    SILENT,
    TRACEBACK,
    UNCLEAR,
    Counts,
    Try,
    write_table,
)

WRONG, RIGHT_CASE = Case(("a=1",), is_right=False, nearest="b"), Case((), is_right=True)


def test_configs_are_tried_in_an_order_that_the_seed_draws() -> None:
    cases = make_cases(0)
    assert make_cases(0) == cases
    assert make_cases(1) != cases
    assert sum(not case.is_right for case in cases) > 500
    assert sum(case.is_right for case in cases) > 20


@pytest.mark.parametrize(
    ("case", "code", "told", "left", "ending"),
    [
        (RIGHT_CASE, 0, "epoch 1 of 1", ["runs"], RIGHT),
        (RIGHT_CASE, 2, "error: no.", [], UNCLEAR),
        (WRONG, 2, "error: no a. Did you mean b?", [], ONE_MESSAGE),
        (WRONG, 2, "error: no a.", [], UNCLEAR),
        (WRONG, 2, "error: no a. Did you mean b?", ["runs"], UNCLEAR),
        (WRONG, 2, "error: b\nerror: b", [], UNCLEAR),
        (WRONG, 2, "error: Could not override 'a', as b", [], UNCLEAR),
        (WRONG, 1, "error: b", [], UNCLEAR),
        (WRONG, 0, "", [], SILENT),
        (WRONG, 1, "Traceback (most recent call last)", [], TRACEBACK),
        (RIGHT_CASE, -11, "", [], TRACEBACK),
    ],
)
def test_a_try_is_judged_by_what_a_user_sees(
    case: Case, code: int, told: str, left: list[str], ending: str
) -> None:
    assert judge(case, code, told, left) == ending


def test_the_table_has_a_line_for_each_part() -> None:
    counts = Counts("configs", (Try("a", RIGHT), Try("b", HANG), Try("c", HANG)))
    header, line = write_table([counts]).splitlines()
    assert header.split() == [
        "part", "tries", "right", "one", "message", "unclear", "silent", "traceback", "hang",
    ]  # fmt: skip
    assert line.split() == ["configs", "3", "1", "0", "0", "0", "0", "2"]
    assert [found.what for found in counts.bad] == ["b", "c"]
