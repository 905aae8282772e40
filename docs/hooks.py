"""What the site takes from the program while it is built, so that it cannot get stale.

A line `<!-- commands -->` of a page becomes the help of every command and verb that there is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PLACE = "<!-- commands -->"
_WIDTH = "90"

# mkdocs reads this file alone: our packages lie in the folder above.
sys.path.insert(0, str(ROOT))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page's text with the help of all commands in its place."""
    return markdown.replace(PLACE, describe_commands()) if PLACE in markdown else markdown


def describe_commands() -> str:
    """A heading and the help of every command, each followed by its verbs."""
    commands = list(list_commands())
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        texts = list(threads.map(_ask_for_help, commands))
    return "\n\n".join(
        f"{'#' * (1 + len(words))} {' '.join(words)}\n\n```text\n{text.strip()}\n```"
        for words, text in zip(commands, texts, strict=True)
    )


def list_commands() -> Iterator[tuple[str, ...]]:
    """Every command, and after it its verbs: ("extract",), ("extract", "inspect"), ..."""
    from eval.__main__ import VERBS  # noqa: PLC0415 - mkdocs imports this before it knows the path
    from extract.options import INSPECT, VERIFY  # noqa: PLC0415
    from np_rnn.cli import COMMANDS  # noqa: PLC0415

    verbs = {"extract": [INSPECT, VERIFY], "eval": [verb.name for verb in VERBS]}
    for command in COMMANDS:
        yield (command,)
        yield from ((command, verb) for verb in verbs.get(command, []))


def _ask_for_help(words: tuple[str, ...]) -> str:
    """What `python -m WORDS --help` prints; CalledProcessError where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *words, "--help"],
        cwd=ROOT, env={**os.environ, "COLUMNS": _WIDTH, "NO_COLOR": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout
