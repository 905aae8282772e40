"""The README's commands and programs run, or are understood, as they stand."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from demo.__main__ import main as demo
from demo.clips import LABELS
from pipeline.clips import find_clips
from tests.conftest import ROOT
from train.config import compose_config
from train.fit import train_run

README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
INLINE = [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", PROSE)]
OVERRIDES = re.compile(r"(\+?[\w./]+=[^\s|=]+)( \+?[\w./]+=[^\s|=]+)*")


def find_blocks(language: str) -> list[str]:
    return [text for found, text in FENCED if found == language]


def find_lines() -> Iterator[str]:
    """Every line of the README's blocks, fenced or indented, and its code within sentences."""
    indented = re.findall(r"^    .*$", README, flags=re.MULTILINE)
    blocks = "\n".join([*indented, *find_blocks("sh")]).replace("\\\n", " ")
    yield from blocks.splitlines()
    yield from INLINE


def find_commands() -> list[list[str]]:
    """The module and the arguments of every `python -m MODULE ...`."""
    lines = (re.fullmatch(r"\s*python -m (.*)", line) for line in find_lines())
    found = [shlex.split(line[1], comments=True) for line in lines if line]
    assert {words[0] for words in found} >= {"extract", "train", "eval", "demo"}
    return found


def compose_all(arguments: list[str]) -> None:
    """Compose every config that `python -m train` with these arguments would train."""
    overrides = [argument for argument in arguments if argument != "-m"]
    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [given]
        for one, given in zip(parsed, overrides, strict=True)
    ]
    assert "-m" in arguments or all(len(values) == 1 for values in choices)
    # Each value once: a grid's product would take minutes.
    for place in range(max(map(len, choices), default=1)):
        compose_config([values[place % len(values)] for values in choices])


class UnderstoodError(Exception):
    """Raised in place of doing what the arguments ask for."""


def parse(monkeypatch: pytest.MonkeyPatch, module: str, arguments: list[str]) -> None:
    """Let the module's own parser read the arguments; SystemExit with 2 where it refuses them."""
    plain = argparse.ArgumentParser.parse_args

    def parse_only(self: argparse.ArgumentParser, *given: list[str] | None) -> None:
        plain(self, *given)
        raise UnderstoodError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr("sys.argv", [module, *arguments])
    spec = importlib.util.find_spec(module)
    assert spec is not None
    is_package = spec.submodule_search_locations is not None
    command = importlib.import_module(f"{module}.__main__" if is_package else module)
    with pytest.raises(UnderstoodError):
        command.main()


def test_every_block_is_of_a_language_that_is_tested_here() -> None:
    assert [language for language, _ in FENCED if language not in ("python", "sh", "yaml")] == []
    assert README.count("```") == 2 * len(FENCED)


@pytest.mark.parametrize("words", find_commands(), ids=" ".join)
def test_a_command_is_understood(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    module, *arguments = words
    if module == "train" and arguments != ["--help"]:
        compose_all(arguments)
    elif module not in ("train", "venv") and "--help" not in arguments:
        parse(monkeypatch, module, arguments)


def test_overrides_within_sentences_compose() -> None:
    found = [code for code in INLINE if OVERRIDES.fullmatch(code) and "hydra" not in code]
    assert len(found) > 5
    for code in found:
        compose_all(shlex.split(code))


@pytest.mark.parametrize(
    "words",
    [["eval", "--rnu", "x"], ["extract", "--videos", "x", "--strid=0"], ["demo", "--fast"]],
    ids=" ".join,
)
def test_an_option_that_is_not_there_is_not_understood(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(monkeypatch, words[0], words[1:])
    assert "error: " in capsys.readouterr().err


def test_a_key_that_is_not_there_does_not_compose() -> None:
    with pytest.raises(ValueError, match="modle"):
        compose_all(["-m", "modle=irnn,lstm"])


def test_what_is_made_and_installed_is_defined() -> None:
    lines = list(find_lines())
    targets = {name for line in lines for name in re.findall(r"^\s*make (\w+)", line)}
    extras = {name for line in lines for name in re.findall(r'"\.\[(\w+)\]"', line)}
    makefile = (ROOT / "Makefile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"demo", "test"} <= targets
    assert {"dev"} <= extras <= set(project["optional-dependencies"])
    assert [name for name in targets if f"\n{name}:" not in makefile] == []


def test_the_shell_program_lists_the_real_clips_it_promises(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("no bash here")
    (block,) = (text for text in find_blocks("sh") if "clips.csv" in text)
    monkeypatch.chdir(tmp_path)
    Path("ucf101").symlink_to(data_root / "ucf101")
    program = block[: block.index("python -m")]
    subprocess.run([shell, "-eu", "-c", program], check=True)
    promised = re.search(r"# (\d+) clips", block)
    assert promised is not None
    clips = find_clips(Path("clips.csv")).clips
    assert len(clips) == int(promised[1])
    assert all(Path(clip.path).is_file() for clip in clips)
    assert {clip.path.split("/")[1] for clip in clips} == {clip.label for clip in clips}


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
    exec(program, {})
    assert capsys.readouterr().out.strip() in LABELS


def test_the_split_file_of_the_readme_is_read(tmp_path: Path) -> None:
    from pipeline.clips import read_split  # noqa: PLC0415

    (block,) = find_blocks("yaml")
    (tmp_path / "mine.yaml").write_text(block)
    (tmp_path / "testlist01.txt").write_text("walk/v_walk_g01_c01.mp4\n")
    split = read_split(str(tmp_path / "mine.yaml"), [])
    assert [clip.group for clip in split.test] == ["g01"]
