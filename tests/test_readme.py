"""The README's commands and programs run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from demo.__main__ import main as demo
from demo.clips import LABELS
from extract.options import parse_words
from tests.conftest import ROOT
from tests.test_commands import parse as parse_eval
from train.config import compose_config
from train.fit import train_run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def find_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def find_commands(stage: str) -> list[list[str]]:
    """The arguments of every `python -m <stage> ...` of the README."""
    text = re.sub(r"\s+", " ", README)
    found = re.findall(rf"`python -m {stage}( [^`]*)?`", text)
    assert found
    return [shlex.split(arguments) for arguments in found]


def test_the_extract_commands_are_understood() -> None:
    for arguments in find_commands("extract"):
        parse_words(arguments)


def test_the_eval_commands_are_understood() -> None:
    lines = re.findall(r"^ *(python -m eval\b[^#\n]*)", README, flags=re.MULTILINE)
    inline = re.findall(r"`(python -m eval\b[^`]*)`", README)
    assert len(lines) > 5
    assert len(inline) > 2
    for command in (*lines, *inline):
        if not command.endswith("--help"):
            parse_eval(command)


def test_the_train_commands_compose() -> None:
    for arguments in find_commands("train"):
        if arguments != ["--help"]:
            compose_config(arguments)


def test_the_writing_and_reading_programs_run_and_the_features_can_be_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    reading, writing, _ = find_blocks("python")
    exec(writing, {})
    reading = reading.replace("UCF-101-googlenet", "mine")
    exec(reading.replace("v_Punch_g08_c01", "v_walk_g08_c01"), {})
    assert "(60, 512)" in capsys.readouterr().out
    train_run(
        compose_config(
            ["features=features/mine", "split=groups-split1", "schedule.phase_epochs=[1]",
             "trainer.accelerator=cpu"]
        )
    )  # fmt: skip


def test_the_streaming_program_names_the_class_of_a_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--quick", "--out", "demo", "--seed", "0"]
    assert demo(arguments) == 0
    capsys.readouterr()
    (run,) = Path("demo/runs").glob("np-rnn-*")
    video = next(Path("demo/videos").rglob("*.avi"))
    program = find_blocks("python")[2].replace("runs/x", str(run)).replace("my.mp4", str(video))
    exec(program.replace("run.features)", 'run.features, weights="random")'), {})
    assert capsys.readouterr().out.strip() in LABELS


def test_the_split_file_of_the_readme_is_read(tmp_path: Path) -> None:
    from pipeline.clips import read_split  # noqa: PLC0415

    (block,) = find_blocks("yaml")
    (tmp_path / "mine.yaml").write_text(block)
    (tmp_path / "testlist01.txt").write_text("walk/v_walk_g01_c01.mp4\n")
    split = read_split(str(tmp_path / "mine.yaml"), [])
    assert [clip.group for clip in split.test] == ["g01"]
