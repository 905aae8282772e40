"""What a training shows in a terminal and a log, and where its curves and its result go."""

from __future__ import annotations

import csv
import io
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.runs import RunConfig, load_net, load_run
from tests.tiny_runs import write_overrides
from train import loggers
from train.checkpoints import read_checkpoint
from train.config import compose_config
from train.fit import train_run
from train.loggers import LOGGERS, check_logger
from train.module import SequenceModule
from train.training import check_config

RESULT = re.compile(r"kept epoch (\d) of 4, (.+): train_loss=\S+ val_loss=(\S+) val_accuracy=\S+")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Overrides that train for four short epochs on a tiny store."""
    return write_overrides(tmp_path, phase_epochs="[3,1]")


def read_log(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def train(overrides: list[str]) -> Path:
    return train_run(compose_config(overrides))


def test_a_terminal_shows_each_epochs_scores_and_the_time_left(
    data: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    folder = train([*data, "logger=none"])
    last = screen.getvalue().rstrip("\n").split("\r")[-1]
    assert re.match(r"epoch 4 of 4: train_loss=\S+ val_loss=\S+ val_accuracy=\S+ \|", last)
    assert last.rstrip().endswith("00:00 left")
    assert f"val_loss={float(read_log(folder)[-1]['val_loss']):.3g} " in last


def test_a_log_has_no_bar_and_no_line_for_every_epoch(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    train([*data, "logger=none"])
    said = capsys.readouterr().err
    assert "\r" not in said
    # The first and the last, as 30 seconds have not gone by.
    assert re.findall(r"^epoch (\d) of 4: train_loss=", said, re.MULTILINE) == ["1", "4"]


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_end_says_the_scores_of_the_epoch_whose_weights_are_kept(
    data: list[str], keep: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # So high a rate that the best epoch is not the last.
    folder = train([*data, f"trainer.keep={keep}", "optimizer.lr=1", "logger=none"])
    losses = [float(row["val_loss"]) for row in read_log(folder)]
    best = losses.index(min(losses))
    assert best != 3
    found = RESULT.search(capsys.readouterr().out)
    assert found is not None
    expected = best if keep == "best" else 3
    assert int(found[1]) == expected + 1
    assert float(found[3]) == pytest.approx(losses[expected], rel=1e-2)  # three digits are shown


def test_tensorboard_has_the_learning_rate_and_the_settings_with_their_result(
    data: list[str],
) -> None:
    folder = train([*data, "optimizer.lr=1e-2"])
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    rates = [event.value for event in found.Scalars("lr-RMSprop")]
    assert rates == pytest.approx([1e-2] * 3 + [1e-3])
    best = min(float(row["val_loss"]) for row in read_log(folder))
    assert [e.value for e in found.Scalars("kept/val_loss")] == pytest.approx([best], rel=1e-5)
    settings = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"optimizer.lr" in settings
    assert b"model.dropout" in settings


def test_the_csv_logger_keeps_what_was_logged_before_a_stop(data: list[str]) -> None:
    folder = train([*data, "logger=csv"])
    (folder / "weights.safetensors").unlink()
    train([*data, "logger=csv"])
    first, second = sorted((folder / "csv").iterdir())
    assert "val_loss" in (first / "metrics.csv").read_text()
    settings = yaml.safe_load((second / "hparams.yaml").read_text())
    assert settings["schedule.phase_epochs"] == [3, 1]


def test_no_logger_leaves_metrics_csv_alone(data: list[str]) -> None:
    folder = train([*data, "logger=none"])
    assert len(read_log(folder)) == 4
    assert not {"tensorboard", "csv"} & {path.name for path in folder.iterdir()}


def test_loggers_make_no_other_run(data: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: name)
    digests = set()
    for name in LOGGERS:
        config: RunConfig = check_config(compose_config([*data, f"logger={name}"])).config
        digests.add(config.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_logger_that_is_not_installed_is_refused_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"logger={name} needs {name}.*\n.*\[{name}\]"):
        compose_config([f"logger={name}"])
    assert check_logger("tensorboard") == "tensorboard"


@pytest.mark.parametrize("value", ["tensorbord", "null", "3", "[csv]"])
def test_an_unknown_logger_is_refused_with_those_there_are(value: str) -> None:
    with pytest.raises(ValueError, match=r"logger: expected one of tensorboard, csv, mlflow"):
        compose_config([f"logger={value}"])


def test_a_checkpoint_makes_its_module_again_by_itself(data: list[str]) -> None:
    folder = train([*data, "model=lstm", "model.h0=learned", "logger=none"])
    module = SequenceModule.load_from_checkpoint(
        folder / "checkpoints" / "best.ckpt", weights_only=True
    )
    expected = load_net(load_run(folder)).state_dict()
    found = module.net.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    (optimizer,), _ = module.configure_optimizers()
    assert optimizer.param_groups[0]["alpha"] == 0.9  # RMSprop's name for the decay


def test_a_training_goes_on_from_a_checkpoint_without_settings(data: list[str]) -> None:
    folder = train([*data, "logger=none"])
    last = folder / "checkpoints" / "last.ckpt"
    content = read_checkpoint(last)
    old = {key: value for key, value in content.items() if "hyper_parameters" not in key}
    assert len(old) < len(content)
    torch.save(old, last)
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").unlink()
    train([*data, "logger=none"])
    assert (folder / "weights.safetensors").read_bytes() == weights
