"""The exit code of `python -m train`: 0, or 1 where a run diverged, or 2 where one was refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.console import OK, REFUSED, SOME_FAILED, run_command
from pipeline.runs import load_run
from tests.tiny_runs import write_split, write_store
from train.__main__ import main

DIVERGES, CONVERGES = "1e30", "1e-3"


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The exit code of the command with more arguments, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # and put back as it was
    data = [
        f"features={write_store(tmp_path / 'store')}", f"split={write_split(tmp_path)}",
        f"out={tmp_path / 'runs'}", f"hydra.sweep.dir={tmp_path / 'sweep'}",
        "schedule.phase_epochs=[1]", "trainer.accelerator=cpu", "trainer.batch_size=5",
        "optimizer.clip=null",
    ]  # fmt: skip

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["train", *arguments, *data])
        with pytest.raises(SystemExit) as ended:
            sys.exit(run_command(main, how_to_go_on=""))
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def list_endings(folder: Path) -> list[str]:
    """What became of the runs below `folder`, in the order of the alphabet."""
    runs = [load_run(path) for path in folder.iterdir()]
    assert all(run.is_complete or run.divergence for run in runs)
    return sorted("diverged" if run.divergence else "complete" for run in runs)


@pytest.mark.parametrize(
    ("rates", "code", "endings"),
    [
        (DIVERGES, SOME_FAILED, ["diverged"]),
        (CONVERGES, OK, ["complete"]),
        (f"{DIVERGES},{CONVERGES}", SOME_FAILED, ["complete", "diverged"]),
        (f"{CONVERGES},0", REFUSED, ["complete"]),
    ],
)
def test_the_exit_code_says_whether_every_run_was_trained(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    rates: str, code: int, endings: list[str],
) -> None:  # fmt: skip
    sweep = ["-m"] if "," in rates else []
    for _ in range(2):  # what is done is not done again, and is said again
        assert train(*sweep, f"optimizer.lr={rates}") == code
        told = capsys.readouterr()
        assert ("diverged" in told.out + told.err) == ("diverged" in endings)
    assert list_endings(tmp_path / "runs") == endings


def test_an_unknown_key_of_a_grid_is_refused_before_anything_is_trained(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("-m", f"optimizer.lr={CONVERGES},1e-2", "modle=np-rnn") == REFUSED
    assert capsys.readouterr().err.startswith("error: modle: no such key. Did you mean")
    assert not (tmp_path / "runs").exists()
