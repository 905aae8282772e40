"""The exit code of `python -m train`, and what a grid says of its runs.

0, or 1 where a run diverged or one of several was refused, or 2 where nothing could be done.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pipeline.console import OK, REFUSED, SOME_FAILED, run_command
from pipeline.runs import load_run
from tests.tiny_runs import write_split, write_store
from train.__main__ import main
from train.fit import train_run
from train.training import Training, check_config

ROOT = Path(__file__).resolve().parent.parent
DIVERGES, CONVERGES = "1e30", "1e-3"


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The exit code of the command with more arguments, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # and put back as it was
    data = [
        f"features={write_store(tmp_path / 'store')}", f"split={write_split(tmp_path)}",
        f"out={tmp_path / 'runs'}",
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
    runs = [load_run(path) for path in folder.glob("*")]
    assert all(run.is_complete or run.divergence for run in runs)
    return sorted("diverged" if run.divergence else "complete" for run in runs)


@pytest.mark.parametrize(
    ("rates", "code", "endings"),
    [
        (DIVERGES, SOME_FAILED, ["diverged"]),
        (CONVERGES, OK, ["complete"]),
        (f"{DIVERGES},{CONVERGES}", SOME_FAILED, ["complete", "diverged"]),
        (f"0,{CONVERGES}", SOME_FAILED, ["complete"]),
        ("0,-1", REFUSED, []),
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


def test_a_grid_tells_at_its_end_what_became_of_every_run(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("-m", f"optimizer.lr={CONVERGES},2e-3")
    (in_use, complete), rates = sorted((tmp_path / "runs").iterdir()), {}
    for folder in (in_use, complete):
        rates[folder] = load_run(folder).config.optimizer.lr
    (in_use / "weights.safetensors").unlink()
    capsys.readouterr()
    with FileLock(in_use / ".lock"):
        grid = f"optimizer.lr={rates[in_use]},-1,{rates[complete]},{DIVERGES},3e-3"
        assert train("-m", grid, "seed=0") == SOME_FAILED
    told = capsys.readouterr()
    at = told.out.index("5 runs: ")
    assert told.out[at:].splitlines() == [
        "5 runs: 1 trained, 1 complete before, 1 being trained by another process, 1 diverged, "
        "1 refused",
        f"  being trained by another process: optimizer.lr={rates[in_use]}",
        "  refused: optimizer.lr=-1: optimizer.lr: expected a number above 0, found -1.0.",
        f"  diverged: optimizer.lr={float(DIVERGES):g}: {load_divergence(tmp_path / 'runs')}",
    ]
    assert "error: optimizer.lr: expected a number above 0, found -1.0.\n" in told.err


def load_divergence(folder: Path) -> str:
    found = [load_run(path).divergence for path in folder.iterdir()]
    return next(filter(None, found)).splitlines()[0]


def test_runs_that_another_process_trains_have_not_failed(
    train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("-m", f"optimizer.lr={CONVERGES},2e-3")
    folders = sorted((tmp_path / "runs").iterdir())
    (folders[0] / "weights.safetensors").unlink()
    with FileLock(folders[0] / ".lock"):
        assert train("-m", f"optimizer.lr={CONVERGES},2e-3") == OK
    expected = "2 runs: 1 complete before, 1 being trained by another process\n"
    assert expected in capsys.readouterr().out


def test_a_refused_grid_leaves_no_folder(train: Callable[..., int], tmp_path: Path) -> None:
    assert train("-m", "optimizer.lr=0,-1", "trainer.updates_per_step=0,8") == REFUSED
    assert not (tmp_path / "runs").exists()


def test_a_run_that_another_process_ends_meanwhile_is_not_counted_as_trained(
    train: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def let_another_train_it(config: Mapping[str, Any]) -> Training:
        monkeypatch.undo()
        train_run(config)
        return check_config(config)

    monkeypatch.setattr("train.fit.check_config", let_another_train_it)
    assert train("-m", "seed=0") == OK
    assert "1 runs: 1 complete before\n" in capsys.readouterr().out


def test_two_processes_share_the_runs_of_a_grid(tmp_path: Path) -> None:
    data = [
        f"features={write_store(tmp_path / 'store')}", f"split={write_split(tmp_path)}",
        f"out={tmp_path / 'runs'}", "trainer.accelerator=cpu", "schedule.phase_epochs=[20]",
    ]  # fmt: skip
    command = [
        sys.executable, "-m", "train", "-m", *data, "seed=0,1,2,3", "model=mean-pool",
    ]  # fmt: skip
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [OK, OK]
    last = [text[text.index("4 runs: ") :] for text in told]
    trained = [re.findall(r"(\d) trained(?:,|$)", text, re.MULTILINE) for text in last]
    assert sum(int(number) for found in trained for number in found) == 4
    assert any("being trained" not in text for text in last)  # the one that ended last knows all
    assert list_endings(tmp_path / "runs") == ["complete"] * 4
    for folder in (tmp_path / "runs").iterdir():
        with (folder / "metrics.csv").open(newline="") as file:
            assert [row["epoch"] for row in csv.DictReader(file)] == [str(e) for e in range(20)]
