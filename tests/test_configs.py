"""Every wrong config of `python -m train` gets one message: what, expected, found, the nearest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.console import REFUSED, run_command
from tests.tiny_runs import make_clips, write_split, write_store
from train.__main__ import main
from train.config import compose_config
from train.fit import train_run

ROOT = Path(__file__).resolve().parent.parent
# Without data: what is wrong is seen before any are looked for.
REFUSED_CONFIGS = {
    "modle=np-rnn": "modle: no such key. Did you mean model?",
    "model=np-rn": "model: expected one of np-rnn, irnn, * found 'np-rn'. Did you mean np-rnn?",
    "task=adition": "task: expected one of clips, * Did you mean addition?",
    "optimizer=rmspop": "optimizer: expected one of adam, rmsprop, sgd, found 'rmspop'.",
    "optimizer={lr:1}": "optimizer: expected one of adam, rmsprop, sgd, found '{lr:1}'.",
    "task.clases=listed": "task.clases: no such key, expected one of * Did you mean task.classes?",
    "lr=0.1": "lr: no such key. Did you mean optimizer.lr?",
    "+anything=1": "anything: no such key.",
    "++anything=1": "anything: no such key.",
    "+trainer.max_epochs=5": "trainer.max_epochs: no such key, expected one of trainer.batch_size,",
    "+optimizer.lr=1": "Pass optimizer.lr=1, without + ~ @.",
    "~optimizer.lr": "Pass optimizer.lr=VALUE, without + ~ @.",
    "model@x=irnn": "Pass model=irnn, without + ~ @.",
    "experiment=addition": "experiment: no such key. Did you mean +experiment?",
    "model.forget_bias=1": "only of lstm.\nLeave it out, or pass model=lstm.",
    "model.name=lstm": "model.name: no such key",
    "optimizer=sgd optimizer.decay=0.9": "Leave it out, or pass optimizer=rmsprop.",
    "task=addition split=draw": "only of clips, arrow-of-time.\nLeave it out, or pass task=clips.",
    "optimizer.lr=abc": "optimizer.lr: expected a finite number, found 'abc'.",
    "optimizer.lr=null": "optimizer.lr: expected a finite number, found null.",
    "optimizer.lr=[1]": "optimizer.lr: expected a finite number, found [1].",
    "optimizer.lr=nan": "optimizer.lr: expected a finite number, found nan.",
    "optimizer.decay=null": "optimizer.decay: expected a number for rmsprop * found null",
    "trainer.batch_size=1.5": "trainer.batch_size: expected a whole number, found 1.5.",
    "trainer.batch_size=null": "trainer.batch_size: expected a whole number, found null.",
    "trainer.updates_per_step=0": "trainer.updates_per_step: expected a number from 1 up, or auto",
    "trainer.threads=0": "trainer.threads: expected a number from 1 to * cores, or auto, found 0.",
    "trainer.num_workers=1000000": "expected a number of processes from 0 to 256, found 1000000.",
    "trainer.accelerator=gpus": "trainer.accelerator: expected one of * Did you mean gpu?",
    "trainer.precision=31": "trainer.precision: expected one of 32-true, * found 31.",
    "schedule.phase_epochs=5": "expected a list of epochs such as [25,30,15], found 5.",
    "schedule.phase_epochs=null": "expected a list of epochs such as [25,30,15], found null.",
    "schedule.phase_epochs=[1.5]": "each of it a whole number, found [1.5].",
    "schedule.phase_epochs={a:1}": "expected a value of the kind that `python -m train --help`",
    "seed=null": "seed: expected a whole number, found null.",
    "seed=1.5": "seed: expected a whole number, found 1.5.",
    "seed=4294967296": "seed: expected a whole number from 0 to 4294967295, found 4294967296.",
    "seed=${nope}": "seed: Interpolation key 'nope' not found",
    "budget=x": "budget: expected a finite number, found 'x'.",
    "out=null": "out: expected the folder of runs, found null.",
    "split=null": "split: expected text, found null.",
    "features=3": "features: expected text or null, found 3.",
    "task.split_seed=abc": "task.split_seed: expected a whole number, found 'abc'.",
    "model.hidden_size=1000000000":
        "model.hidden_size=1000000000: training needs at least 12,000,000,",
    "task=addition task.length=1000000000000":
        "task.length=1000000000000 with trainer.batch_size=256: training needs at least",
    "task=addition task.num_train=1000000000000000": "task.num_train=1000000000000000,",
    "optimizer.lr=[1": "optimizer.lr=[1: this cannot be read. Expected key=value; a list",
    "seed": "seed: this cannot be read. Expected key=value;",
    "seed==1": "seed==1: this cannot be read.",
    "model=np-rnn,irnn": "model=np-rnn,irnn: several values for one run. Expected",
    "seed=range(0,3)": "seed=range(0,3): several values for one run. Expected",
    "--no-such-flag": "expected one of -m, --multirun, * found '--no-such-flag'.",
    "hydra/launcher=nothing": "hydra/launcher: expected one of basic, * found 'nothing'.",
}  # fmt: skip


@pytest.fixture
def refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The one message with which the command refuses its arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")  # and put back as it was

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        with pytest.raises(SystemExit) as ended:
            sys.exit(run_command(main, how_to_go_on=""))
        told = capsys.readouterr()
        assert (ended.value.code, told.out) == (REFUSED, "")
        assert told.err.startswith("error: ")
        assert told.err.count("error: ") == 1
        assert list(tmp_path.iterdir()) == []
        return told.err

    return run


@pytest.mark.parametrize("arguments", REFUSED_CONFIGS)
def test_a_wrong_config_is_refused_in_one_message(
    refuse: Callable[..., str], arguments: str
) -> None:
    found, at = refuse(*arguments.split()), 0
    for part in REFUSED_CONFIGS[arguments].split(" * "):
        at = found.index(part, at)


@pytest.mark.parametrize("arguments", ["task=mnist", "task=mnist task.root=nowhere", "split=draw"])
def test_a_config_whose_data_are_not_there_is_refused_in_one_message(
    refuse: Callable[..., str], arguments: str
) -> None:
    assert "expected" in refuse(*arguments.split())


def test_a_wrong_config_is_refused_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pipeline.console import run_command\n"
        "from train.__main__ import main\n"
        "for argument in ('modle=irnn', 'optimizer.lr=abc', 'model.hidden_size=1000000000'):\n"
        "    sys.argv = ['train', argument]\n"
        "    try:\n"
        "        code = run_command(main, how_to_go_on='')\n"
        "    except SystemExit as ended:\n"
        "        code = ended.code\n"
        "    print(code, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["2 False"] * 3


def test_a_task_of_one_class_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    others = [clip.id for clip in make_clips() if clip.label != "walk"]
    store = write_store(tmp_path / "store", missing=others)
    data = [f"features={store}", f"split={write_split(tmp_path)}", f"out={tmp_path / 'runs'}"]
    config = compose_config([*data, "task.classes=present"])
    with pytest.raises(
        ValueError, match="Expected two classes or more to tell apart, found one: walk"
    ):
        train_run(config)
    assert not (tmp_path / "runs").exists()


def test_classes_without_validation_clips_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = [f"v_{label}_g03_c0{number}" for label in ("bow", "run") for number in (1, 2)]
    store = write_store(tmp_path / "store", missing=gone)
    data = [f"features={store}", f"split={write_split(tmp_path)}", f"out={tmp_path / 'runs'}"]
    small = ["schedule.phase_epochs=[1]", "trainer.accelerator=cpu", "model=mean-pool"]
    train_run(compose_config([*data, *small]))
    expected = "warning: no validation clip of 2 of 6 classes (bow, run):"
    assert expected in capsys.readouterr().out
