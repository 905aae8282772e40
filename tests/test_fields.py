"""What a spec's fields take, by their declared types."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from pipeline.fields import hold_fields


@dataclass(frozen=True)
class Spec:
    count: int = 1
    rate: float = 1.0
    clip: float | None = None
    name: str = "a"
    phases: tuple[int, ...] = (1, 2)
    updates: int | Literal["auto"] = "auto"
    anything: Any = None
    top: str = "x"

    def __post_init__(self) -> None:
        hold_fields(self, "section", bare=("top",))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 1.0}, "section.count: expected a whole number, found 1.0."),
        ({"count": True}, "section.count: expected a whole number, found true."),
        ({"count": "1"}, "section.count: expected a whole number, found '1'."),
        ({"count": None}, "section.count: expected a whole number, found null."),
        ({"rate": "1e-3"}, "section.rate: expected a finite number, found '1e-3'."),
        ({"rate": False}, "section.rate: expected a finite number, found false."),
        ({"rate": math.nan}, "section.rate: expected a finite number, found nan."),
        ({"rate": -math.inf}, "section.rate: expected a finite number, found -inf."),
        ({"rate": 10**400}, "section.rate: expected a finite number, found 1000"),
        ({"clip": [1]}, r"section.clip: expected a finite number or null, found \[1\]."),
        ({"name": 3}, "section.name: expected text, found 3."),
        ({"phases": (1.5,)}, r"section.phases: .*, each of it a whole number, found \[1.5\]."),
        ({"phases": 5}, "section.phases: expected a list, each of it a whole number, found 5"),
        ({"updates": "all"}, "section.updates: expected a whole number or auto, found 'all'."),
        ({"updates": True}, "section.updates: expected a whole number or auto, found true."),
        ({"top": 1}, "^top: expected text, found 1."),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_by_its_key(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spec(**wrong)


def test_values_of_their_types_pass_and_whole_numbers_of_float_fields_become_floats() -> None:
    spec = Spec(count=10**30, rate=10, clip=2, updates=8, phases=(), anything=[{}])
    assert [type(v) for v in (spec.rate, spec.clip, spec.count)] == [float, float, int]
    assert (spec.rate, spec.clip) == (10.0, 2.0)
    assert Spec().clip is None
