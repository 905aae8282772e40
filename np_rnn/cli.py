"""The console command: `np-rnn extract|train|eval|demo|papers [arguments]`.

It runs each as `python -m` would, wherever it is installed, and takes nothing from the working
directory: a `train.py` that lies there is the user's own.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

import pipeline as _pipeline
from pipeline.choices import check_choice
from pipeline.console import OK, run_command
from pipeline.versions import find_versions

PROGRAM = "np-rnn"
COMMANDS = {
    "extract": "videos to a store of the features of their frames",
    "train": "features, or a task without any, to a run: a trained recurrent net",
    "eval": "runs to scores and pages; a net asked about videos, served, exported",
    "demo": "all of it on generated clips, in a minute",
    "papers": "the papers' experiments carried out, and their sentences judged",
}
# "" in a checkout, "np_rnn." where it is installed.
_BEFORE_NAMES = _pipeline.__name__.removesuffix("pipeline")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command that the first word names."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    return run_command(lambda: _run(words), how_to_go_on="Run the same command again.")


def run_installed() -> int:
    """What the console command is; the processes that it starts pass over the directory, too."""
    os.environ["PYTHONSAFEPATH"] = "1"
    return main()


def _run(words: Sequence[str]) -> int:
    if words[:1] in (["-h"], ["--help"]):
        print(_describe())
        return OK
    if words == ["--version"]:
        print(PROGRAM, find_versions([PROGRAM]).get(PROGRAM, "of a checkout"))
        return OK
    if not words:
        raise ValueError(f"{PROGRAM}: expected a command, found none.\n{_describe()}")
    check_choice(PROGRAM, words[0], COMMANDS)
    sys.argv[1:] = words[1:]
    # As the main module of the process: Lightning and multiprocessing start others like it.
    runpy.run_module(f"{_BEFORE_NAMES}{words[0]}", run_name="__main__", alter_sys=True)
    return OK


def _describe() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    usage = f"usage: {PROGRAM} COMMAND [arguments]"
    return "\n".join([usage, "", *lines, "", f"{PROGRAM} COMMAND --help says what each takes."])
