"""The campaign counts what it sees, and sees what should not be."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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
from benchmarks.campaign.kills import MOMENTS, have_equal_weights
from pipeline.runs import WEIGHTS

ROOT = Path(__file__).resolve().parent.parent
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


def test_a_training_that_goes_on_to_other_weights_counts_as_silent(tmp_path: Path) -> None:
    for name, value in (("one", 1.0), ("same", 1.0), ("other", 2.0)):
        (tmp_path / name).mkdir()
        save_file({"weight": torch.full((2, 2), value)}, tmp_path / name / WEIGHTS)
    assert have_equal_weights(tmp_path / "one", tmp_path / "same")
    assert not have_equal_weights(tmp_path / "one", tmp_path / "other")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_a_checkpoint_leaves_the_one_before_or_the_whole_new_one(
    tmp_path: Path, moment: str
) -> None:
    code = (
        "from pathlib import Path; import sys\n"
        "from benchmarks.campaign.kills import Kill, die_at\n"
        "from pipeline import files\n"
        "die_at(Kill(2, sys.argv[1]))\n"
        "for text in (b'first', b'second', b'third'):\n"
        "    files.write_bytes(Path(sys.argv[2]), text)\n"
    )
    path = tmp_path / "last.ckpt"
    done = subprocess.run([sys.executable, "-c", code, moment, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == (b"second" if moment == "after" else b"first")
