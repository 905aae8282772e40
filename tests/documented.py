"""What README and pages tell a reader to type: blocks and commands found, and understood or run."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import ROOT
from train.config import compose_config

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LANGUAGES = ("bash", "diff", "python", "text", "yaml")
READ_ONLY = "<!-- read, not run -->"
_BLOCK = re.compile(r"^(<!-- [^\n]* -->\n)?```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
_MODULE = re.compile(r"(?:\w+=\S+ )*(?:python -m|torchrun .*?-m|np-rnn) (?P<words>\w.*)")
_WITHOUT_PARSER = ("venv", "mkdocs", "docs.pictures")


@dataclass(frozen=True)
class Block:
    """A fenced block. `is_run`: no comment before it says that it is only read."""

    language: str
    text: str
    is_run: bool


def find_blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    assert text.count("```") == 2 * len(_BLOCK.findall(text)), "a fence is not closed"
    return [
        Block(language, content, before.strip() != READ_ONLY)
        for before, language, content in _BLOCK.findall(text)
    ]


def find_codes(text: str) -> list[str]:
    """The code within sentences, on one line each."""
    prose = _BLOCK.sub("", text)
    return [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose)]


def find_lines(text: str) -> Iterator[str]:
    """Every line of a page's shell blocks, continued ones joined, and its code within sentences."""
    for block in find_blocks(text):
        if block.language == "bash":
            yield from block.text.replace("\\\n", " ").splitlines()
    yield from find_codes(text)


def find_commands(text: str) -> list[list[str]]:
    """The module and the arguments of every command of ours."""
    lines = (_MODULE.fullmatch(line.strip().removesuffix(" &")) for line in find_lines(text))
    return [shlex.split(line["words"], comments=True) for line in lines if line]


def check_command(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> None:
    """Raise, or fail, unless the program understands the words; nothing of it is done."""
    module, *arguments = words
    if "--help" in arguments or module in _WITHOUT_PARSER:
        return
    if module == "train":
        compose_all(arguments)
    else:
        parse(monkeypatch, module, arguments)


def compose_all(arguments: Sequence[str]) -> None:
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


def name_page(page: Path) -> str:
    """The page's place in docs/."""
    return str(page.relative_to(DOCS))


class UnderstoodError(Exception):
    """Raised in place of doing what the arguments ask for."""


def parse(monkeypatch: pytest.MonkeyPatch, module: str, arguments: Sequence[str]) -> None:
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


@dataclass(frozen=True)
class Shell:
    """Runs blocks in `folder` as a reader would, with the program of the checkout `source`."""

    folder: Path
    source: Path

    def run(self, block: Block) -> str:
        """What the block prints; an AssertionError with all of it where it fails."""
        if block.language == "diff":
            apply_diff(self.source, block.text)
            return ""
        words = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}
        done = subprocess.run(
            [*words[block.language], block.text], cwd=self.folder, env=self._environment(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.text}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _environment(self) -> dict[str, str]:
        programs = self.folder / ".programs"
        programs.mkdir(exist_ok=True)
        for name, words in {"python": "", "np-rnn": "-m np_rnn"}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            (programs / name).chmod(0o755)
        return {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.source),
            "OMP_NUM_THREADS": "1",
        }


def apply_diff(folder: Path, diff: str) -> None:
    """Change the files of `folder` as the hunks say; AssertionError where one fits not once.

    As a reader does it by hand: a hunk is a place in its file, without the numbers of lines.
    """
    for name, hunks in re.findall(
        r"^\+\+\+ b/(.*)\n((?:[@ +-](?!-- a/).*\n)*)", diff, re.MULTILINE
    ):
        text = (folder / name).read_text()
        for hunk in filter(None, re.split(r"^@@.*\n", hunks, flags=re.MULTILINE)):
            lines = hunk.splitlines()
            old = "\n".join(line[1:] for line in lines if line[0] != "+")
            new = "\n".join(line[1:] for line in lines if line[0] != "-")
            assert text.count(old) == 1, f"{name} has {text.count(old)} times:\n{old}"
            text = text.replace(old, new)
        (folder / name).write_text(text)
