"""The README's commands are understood as they stand, and what it points to is there."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.conftest import ROOT
from tests.documented import (
    LANGUAGES,
    check_command,
    compose_all,
    find_blocks,
    find_commands,
    find_lines,
    parse,
)

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_block_is_of_a_language_that_is_tested_here() -> None:
    assert {block.language for block in find_blocks(README)} <= set(LANGUAGES)


def test_the_three_stages_and_the_demo_are_shown() -> None:
    found = {words[0] for words in find_commands(README)}
    assert found >= {"extract", "train", "eval", "demo", "papers"}


@pytest.mark.parametrize("words", find_commands(README), ids=" ".join)
def test_a_command_is_understood(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    check_command(monkeypatch, words)


def test_every_file_that_it_points_to_is_there() -> None:
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(targets) > 10
    assert [link for link in targets if not (ROOT / link).is_file()] == []


def test_it_is_a_screen_and_a_half() -> None:
    assert len(README.splitlines()) < 100


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
    lines = list(find_lines(README))
    targets = {name for line in lines for name in re.findall(r"^\s*make (\w+)", line)}
    extras = {name for line in lines for name in re.findall(r'"\.\[(\w+)\]"', line)}
    makefile = (ROOT / "Makefile").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"demo", "test"} <= targets
    assert {"dev"} <= extras <= set(project["optional-dependencies"])
    assert [name for name in targets if f"\n{name}:" not in makefile] == []
