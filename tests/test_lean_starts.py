"""What a command imports before there is work for it: tested by sys.modules, not by a clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HEAVY = frozenset({
    "torch", "torchvision", "timm", "pytorch_lightning", "matplotlib", "pandas", "scipy", "sklearn",
    "onnx",
})  # fmt: skip
READ_RUNS = ("eval", "eval dynamics", "eval export", "eval watch --camera 0", "eval serve",
             "eval predict my.mp4")  # fmt: skip


def start(command: str, folder: Path) -> tuple[int, str, set[str]]:
    """The exit code of `python -m <command>` in `folder`, what it said, what it imported."""
    program = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('imported:', *sys.modules))\n"
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *command.split()], cwd=folder, capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said, _, imported = ended.stdout.rpartition("imported: ")
    return ended.returncode, said + ended.stderr, set(imported.split())


def test_what_work_imports_is_seen_by_these_tests(tmp_path: Path) -> None:
    code, said, imported = start("eval study no-such-folder", tmp_path)
    assert code == 2, said
    assert {"torch", "scipy"} <= HEAVY & imported


@pytest.mark.parametrize("command", ["train", "papers --list", "demo", "extract", "extract verify"])
def test_help_imports_nothing_that_takes_long(command: str, tmp_path: Path) -> None:
    code, said, imported = start(f"{command} --help", tmp_path)
    assert code == 0, said
    assert "argparse" in imported
    assert not HEAVY & imported


@pytest.mark.parametrize("command", READ_RUNS)
def test_a_wrong_run_is_refused_before_anything_that_takes_long(
    command: str, tmp_path: Path
) -> None:
    code, said, imported = start(f"{command} --run no-such-run", tmp_path)
    assert code == 2
    assert "no-such-run: expected a run folder, found no such folder" in said
    assert not HEAVY & imported


def test_a_backbone_imports_only_the_library_that_its_net_is_of() -> None:
    program = (
        "import sys; from pipeline.backbones import load_backbone, prepare;"
        "prepare(load_backbone('bvlc-googlenet', weights='random'));"
        "print(*sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = set(ended.stdout.split())
    assert "torch" in imported
    assert not {"timm", "torchvision", "torch._dynamo"} & imported


def test_what_answers_for_a_video_imports_neither_scipy_nor_h5py() -> None:
    program = "import sys, eval.videos.answers, eval.videos.live; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    imported = set(ended.stdout.split())
    assert "torch" in imported
    assert not {"scipy", "h5py", "timm", "torchvision"} & imported


@pytest.mark.parametrize("command", READ_RUNS)
def test_without_any_run_nothing_that_takes_long_is_imported(command: str, tmp_path: Path) -> None:
    code, said, imported = start(command, tmp_path)
    assert code == 2
    assert "runs/: expected a complete run, found no run" in said
    assert not HEAVY & imported
