"""Wrong configs of `python -m train`: each is refused in one message, and nothing is left."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.campaign.config_cases import Case, make_cases
from benchmarks.campaign.counts import (
    HANG,
    ONE_MESSAGE,
    RIGHT,
    SILENT,
    TRACEBACK,
    UNCLEAR,
    Counts,
    Try,
)
from pipeline.console import REFUSED, run_command
from tests.tiny_runs import write_split, write_store

_LIMIT_SECONDS = 60
# So that what is asked for in vain hurts nobody else: bytes, and open files.
_LIMITS = {resource.RLIMIT_AS: 16 * 2**30, resource.RLIMIT_NOFILE: 256}
_LIBRARY_WORDS = re.compile(
    r"full_key|object_type|hydra\.cc|not in struct|Config search path|Could not override|OmegaConf"
    r"|__init__|Error executing job|DictConfig|argument must|To append to your config"
)


def try_configs(seed: int) -> Counts:
    """Every case in a process and a folder of its own."""
    import train.fit  # noqa: F401, PLC0415 - once for all: each process is forked from this one

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_store(root / "data" / "store")
        write_split(root / "data")
        tries = [_try_case(case, root) for case in make_cases(seed)]
    return Counts("configs", tuple(tries))


def _try_case(case: Case, root: Path) -> Try:
    folder = root / "try"
    shutil.copytree(root / "data", folder)
    before = set(folder.rglob("*"))
    process = multiprocessing.get_context("fork").Process(
        target=_train, args=(case.arguments, folder, root)
    )
    process.start()
    assert process.pid is not None
    process.join(_LIMIT_SECONDS)
    is_hanging = process.is_alive()
    if is_hanging:
        os.killpg(process.pid, signal.SIGKILL)  # it began a group of its own
        process.join()
    told = (root / "stderr").read_text()
    left = sorted(str(path.relative_to(folder)) for path in set(folder.rglob("*")) - before)
    shutil.rmtree(folder)
    if is_hanging:
        return Try(case.changed, HANG, told)
    assert process.exitcode is not None
    return Try(case.changed, judge(case, process.exitcode, told, left), told or f"{left[:3]}")


def judge(case: Case, code: int, told: str, left: list[str]) -> str:
    """How a try ended that told this on standard error and left these files behind."""
    if "Traceback" in told or code < 0:
        return TRACEBACK
    if code != REFUSED:
        return RIGHT if case.is_right else SILENT if code == 0 else UNCLEAR
    is_one_message = told.startswith("error: ") and told.count("error: ") == 1
    is_clear = is_one_message and not left and not _LIBRARY_WORDS.search(told)
    has_nearest = case.nearest in told
    return ONE_MESSAGE if is_clear and has_nearest and not case.is_right else UNCLEAR


def _train(arguments: tuple[str, ...], folder: Path, root: Path) -> None:
    """What `python -m train` does with these arguments in this folder."""
    from train.__main__ import main  # noqa: PLC0415

    os.setsid()
    for limit, most in _LIMITS.items():
        resource.setrlimit(limit, (most, most))
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = ["train", *arguments]
    sys.exit(run_command(main, how_to_go_on=""))
