"""The options of tasks: one home of their defaults, read without torch."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.tasks.options import TASK_OPTIONS, CopyingOptions, MarkedOptions, MnistOptions
from pipeline.tasks.table import TASKS

ROOT = Path(__file__).resolve().parent.parent


def test_every_task_has_options_and_every_option_a_default() -> None:
    assert list(TASK_OPTIONS) == list(TASKS)
    for make in TASK_OPTIONS.values():
        make()


def test_only_paths_and_how_features_are_held_are_not_learned() -> None:
    found = {
        (name, field.name)
        for name, options in TASK_OPTIONS.items()
        for field in fields(options)
        if not field.metadata.get("learned", True)
    }
    assert found == {
        ("clips", "features"), ("clips", "cache"), ("arrow-of-time", "features"),
        ("arrow-of-time", "cache"), ("mnist", "root"), ("permuted-mnist", "root"),
        ("speech-frames", "features"), ("speech-frames", "cache"),
        ("words", "root"), ("words", "tokens"),
    }  # fmt: skip


def test_options_are_read_without_torch() -> None:
    program = "import sys, pipeline.tasks.options; print('torch' in sys.modules)"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("clips", {"classes": "some"}, "task.classes: expected one of listed, present"),
        ("clips", {"cache": "gpu"}, "task.cache: expected one of auto, memory, disk"),
        ("clips", {"split_seed": -1}, "task.split_seed: expected a whole number from 0 up"),
        ("mnist", {"pixels": "byte"}, "task.pixels: expected one of unit, bytes, found 'byte'"),
        ("permuted-mnist", {"num_val": 0}, "task.num_val: expected a whole number from 1 up"),
        ("permuted-mnist", {"permutation_seed": 0.5}, "task.permutation_seed: expected a whole"),
        ("permuted-mnist", {"permutation_seed": 2**63}, "task.permutation_seed: expected a whole"),
        ("clips", {"features": 3}, "features: expected text or null, found 3"),
        ("clips", {"split": None}, "split: expected text, found null"),
        ("clips", {"split": ""}, "split: expected a name or a path, found ''"),
        ("clips", {"split_seed": "abc"}, "task.split_seed: expected a whole number, found 'abc'"),
        ("digits", {"num_test": 0}, "task.num_test: expected a whole number from 1 up"),
        ("digits", {"seed": True}, "task.seed: expected a whole number, found true"),
        ("copying", {"length": 0}, "task.length: expected a whole number from 1 up"),
        ("words", {"unit": "syllable"}, "task.unit: expected one of word, character"),
        ("words", {"vocabulary": 2}, "task.vocabulary: expected a whole number from 3 up"),
        ("words", {"protocol": "sentences", "steps": 20}, "task.steps is 20, which has no effect"),
        ("words", {"held_out": 0.5}, "task.held_out: expected a share in (0, 0.5), found 0.5"),
        ("multiplication", {"length": 1}, "task.length: expected a whole number from 2 up"),
    ],
)
def test_a_wrong_option_is_refused_with_what_was_expected(
    name: str, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TASK_OPTIONS[name](**wrong)  # type: ignore[arg-type]


def test_the_defaults_are_the_sizes_of_the_papers() -> None:
    assert MarkedOptions().sizes == {"train": 100_000, "val": 10_000, "test": 10_000}
    assert CopyingOptions().sizes == MarkedOptions().sizes
    assert [TASK_OPTIONS[n]().length for n in ("addition", "multiplication")] == [150, 50]  # type: ignore[union-attr]
    assert MnistOptions().num_val == 5000
