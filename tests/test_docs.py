"""The site builds strictly, says what the program says, and asks no other host for anything."""

from __future__ import annotations

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import np_rnn
from eval.__main__ import VERBS
from np_rnn.cli import COMMANDS
from pipeline.recurrent.spec import NETS
from pipeline.tasks.options import TASK_OPTIONS
from tests.conftest import ROOT
from tests.documented import DOCS, PAGES, name_page

# What a browser fetches by itself; a link is followed by a person.
FETCHED = re.compile(r"""(?:src|srcset|data)=["']([^"']*)|<link\b[^>]*href=["']([^"']*)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site; tests that ask for it are skipped without mkdocs."""
    for module in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -c constraints.txt -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def find_foreign(text: str) -> list[str]:
    """The addresses of other hosts that a page fetches."""
    found = [source or link for source, link in FETCHED.findall(text)]
    return [address for address in found if re.match(r"(https?:)?//", address)]


def test_an_address_of_another_host_is_found() -> None:
    assert find_foreign('<script src="//a.example/x.js"></script><a href="https://b.example/">')
    assert find_foreign("<link rel=stylesheet href='https://c.example/'>")
    assert not find_foreign('<script src="../x.js"></script><a href="https://b.example/">b</a>')


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)  # and 404.html
    assert {page.name: found for page in pages if (found := find_foreign(page.read_text()))} == {}


def test_the_reference_has_the_help_of_every_command_and_verb(site: Path) -> None:
    text = html.unescape((site / "reference" / "commands" / "index.html").read_text())
    parsers = [verb.make_parser() for verb in VERBS]
    assert all(f'id="{name}"' in text for name in COMMANDS)
    for parser in parsers:
        options = [option for action in parser._actions for option in action.option_strings]
        assert options
        assert [option for option in options if option not in text] == []
    assert "phase_epochs" in text


def test_the_reference_has_every_name_of_the_python_api() -> None:
    page = (DOCS / "reference" / "api.md").read_text()
    assert re.findall(r"^::: np_rnn\.(\w+)$", page, flags=re.MULTILINE)
    assert sorted(re.findall(r"^::: np_rnn\.(\w+)$", page, flags=re.MULTILINE)) == np_rnn.__all__


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_no_line_is_longer_than_100_characters(page: Path) -> None:
    lines = page.read_text().splitlines()
    # Rows of tables cannot be broken.
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


def test_the_nets_and_tasks_of_the_reference_are_those_of_the_tables() -> None:
    nets, _, tasks = (DOCS / "reference" / "nets-and-tasks.md").read_text().partition("## Tasks")
    tasks, _, _ = tasks.partition("## Values")
    for text, table in ((nets, NETS), (tasks, TASK_OPTIONS)):
        rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        names = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
        assert names == set(table)


def test_pictures_are_of_modest_size_and_all_shown() -> None:
    texts = "".join(page.read_text() for page in [*PAGES, ROOT / "README.md"])
    pictures = list((DOCS / "pictures").iterdir())
    assert [p.name for p in pictures if p.stat().st_size > 150_000] == []
    assert [p.name for p in pictures if f"pictures/{p.name}" not in texts] == []
