"""The runs of a grid by Hydra's launchers of other makers are those of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.runs import WEIGHTS
from tests.conftest import ROOT
from train.config import compose_config
from train.fit import train_run

NETS = ("np-rnn", "lstm")
OVERRIDES = (
    "task=addition", "task.length=8", "task.num_train=20", "task.num_val=10",
    "model.hidden_size=5", "schedule.phase_epochs=[2]", "trainer.accelerator=cpu",
)  # fmt: skip


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """The weights of the grid's runs, by their names, each trained here."""
    out = tmp_path_factory.mktemp("here")
    configs = [compose_config([*OVERRIDES, f"model={net}", f"out={out}"]) for net in NETS]
    return {run.name: load_file(run / WEIGHTS) for run in map(train_run, configs)}


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_grid_has_the_same_runs_whatever_launches_them(
    launcher: str, expected: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    words = ["train", "-m", *OVERRIDES, f"model={','.join(NETS)}", f"out={out}"]
    hydra = [f"hydra/launcher={launcher}", f"hydra.sweep.dir={tmp_path}"]
    ended = subprocess.run(
        [sys.executable, "-m", *words, *hydra],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("2 runs: 2 trained\n")
    assert {run.name for run in out.iterdir()} == expected.keys()
    for name, weights in expected.items():
        found = load_file(out / name / WEIGHTS)
        assert all(torch.equal(found[key], weights[key]) for key in weights)
