"""Commands whose output nobody reads to its end, as `| head` does, end in silence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from pipeline.console import OK, REFUSED, UNREAD, run_command
from tests.conftest import ROOT


def run_unread(words: Sequence[str], *, both: bool = False) -> tuple[int, str]:
    """The exit code, and what stderr got, of a Python whose stdout (or `both`) nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, *words], cwd=ROOT, stdout=writer, text=True, check=False,
        stderr=writer if both else subprocess.PIPE,
    )  # fmt: skip
    os.close(writer)
    return ended.returncode, ended.stderr or ""


@pytest.mark.parametrize(
    "command",
    ["eval --help", "train --help", "extract --help", "papers --help", "demo --help",
     "np_rnn --help", "np_rnn --version", "np_rnn eval --help"],
)  # fmt: skip
def test_help_that_nobody_reads_ends_in_silence(command: str) -> None:
    code, told = run_unread(["-m", *command.split()])
    assert told == ""
    assert code in (OK, UNREAD)  # argparse itself passes over a help that cannot be written


@pytest.mark.parametrize("both", [False, True])
def test_answers_that_nobody_reads_stop_the_command(both: bool) -> None:
    program = (
        "import sys\n"
        "from pipeline.console import run_command\n"
        "def answer():\n"
        "    for number in range(10**9):\n        print(number)\n"
        "sys.exit(run_command(answer, how_to_go_on='Go on.'))"
    )
    assert run_unread(["-c", program], both=both) == (UNREAD, "")


def test_another_broken_pipe_is_an_error_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    def lose() -> int:
        raise BrokenPipeError(32, "a decoder has ended")

    assert run_command(lose, how_to_go_on="Go on.") == REFUSED
    assert "a decoder has ended. Go on." in capsys.readouterr().err
