"""Trainings that are killed and go on, beside undisturbed ones.

Half of the kills hit a chosen checkpoint: before its bytes are written, between them, or when it is
in place, which for the best epoch's is before the last epoch's. The others come at any moment.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load_file

from benchmarks.campaign.counts import HANG, RIGHT, SILENT, TRACEBACK, Counts, Try
from benchmarks.stores import write_store
from pipeline import files
from pipeline.files import replacing
from pipeline.runs import METRICS, WEIGHTS, find_runs, load_run
from train.config import compose_config, quote
from train.fit import train_run

_TIME_LIMIT_SECONDS = 300.0
_NUM_EPOCHS = 10
_KILLS_PER_JOB = 8
_CLIPS = ("trainer.batch_size=8", "split=draw")
_BLOCKS = (
    "task=addition", "task.length=40", "task.num_train=4000", "task.num_val=200",
    "model=np-rnn", "model.dropout=0", "optimizer=sgd", "trainer.batch_size=1",
)  # fmt: skip
_JOBS = {
    "np-rnn": ("model=np-rnn", *_CLIPS, "trainer.keep=best"),
    "np-rnn, keep=last": ("model=np-rnn", *_CLIPS, "trainer.keep=last"),
    "lstm": ("model=lstm", *_CLIPS, "trainer.keep=best"),
    "lstm, keep=last": ("model=lstm", *_CLIPS, "trainer.keep=last"),
    "addition in blocks": _BLOCKS,
}
MOMENTS = ("before", "within", "after")
# Forked from a process that has imported torch, and has not computed with it.
_CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Kill:
    """SIGKILL at a moment of writing the checkpoint `number`; where that is 0, after seconds."""

    number: int = 0
    moment: str = ""
    seconds: float = 0.0


def try_kills(seed: int) -> Counts:
    """Trainings of each kind, killed once; they go on, and are compared with undisturbed ones."""
    _CONTEXT.set_forkserver_preload(["train.fit"])
    generator = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        store = write_store(Path(name) / "store", [generator.randint(20, 60) for _ in range(88)])
        tries = [
            one
            for job, overrides in _JOBS.items()
            for one in _try_job(job, overrides, Path(name) / job, store, generator)
        ]
    return Counts("kills", tuple(tries))


def _try_job(
    job: str, overrides: Sequence[str], folder: Path, store: Path, generator: random.Random
) -> Iterator[Try]:
    data = [] if overrides is _BLOCKS else [f"features={quote(store)}"]
    schedule = f"schedule.phase_epochs=[{_NUM_EPOCHS}]"
    config = compose_config([*overrides, *data, schedule, "trainer.accelerator=cpu"])
    start = time.perf_counter()
    ended = _train({**config, "out": str(folder / "whole")})
    assert ended == 0, f"{job}: the undisturbed training ended with {ended}"
    seconds = time.perf_counter() - start
    kills = [_aim(generator) for _ in range(_KILLS_PER_JOB // 2)]
    kills += [Kill(seconds=generator.uniform(0, seconds)) for _ in range(_KILLS_PER_JOB // 2)]
    for place, kill in enumerate(kills):
        ending = _kill_and_go_on(
            kill, {**config, "out": str(folder / str(place))}, folder / "whole"
        )
        yield Try(f"{job}, {kill}", ending)


def _aim(generator: random.Random) -> Kill:
    # An epoch writes one checkpoint or two.
    return Kill(generator.randint(1, _NUM_EPOCHS), generator.choice(MOMENTS))


def _kill_and_go_on(kill: Kill, config: Mapping[str, Any], whole: Path) -> str:
    """How a training ends that is killed and then begun again."""
    while (ended := _train(config, kill)) == 0 and not kill.number:  # it was faster
        kill = replace(kill, seconds=kill.seconds / 2)
        config = {**config, "out": f"{config['out']}-again"}
    if ended != -signal.SIGKILL:
        return HANG if ended is None else TRACEBACK
    num_ended = _count_epochs(Path(config["out"]))
    if (ended := _train(config)) != 0:
        return HANG if ended is None else TRACEBACK
    (resumed,), (undisturbed,) = find_runs(Path(config["out"])), find_runs(whole)
    first_epoch = load_run(resumed).provenance.sessions[-1].first_epoch
    is_right = num_ended - first_epoch <= 1 and have_equal_weights(resumed, undisturbed)
    return RIGHT if is_right else SILENT


def _count_epochs(out: Path) -> int:
    """The epochs that had ended when the training was killed."""
    logs = list(out.glob(f"*/{METRICS}"))
    return len(logs[0].read_text().splitlines()) - 1 if logs else 0


def have_equal_weights(run: Path, other: Path) -> bool:
    weights, expected = load_file(run / WEIGHTS), load_file(other / WEIGHTS)
    return all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def _train(config: Mapping[str, Any], kill: Kill | None = None) -> int | None:
    """The exit code of a process that trains, negative where a signal ended it; None: no end."""
    process = _CONTEXT.Process(target=_train_until, args=(dict(config), kill))
    process.start()
    process.join(kill.seconds if kill and not kill.number else _TIME_LIMIT_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        return -signal.SIGKILL if kill and not kill.number else None
    return process.exitcode


def _train_until(config: dict[str, Any], kill: Kill | None) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    if kill and kill.number:
        die_at(kill)
    train_run(config)


def die_at(kill: Kill) -> None:
    """Let the writing of a checkpoint end this process."""
    numbers = itertools.count(1)

    def die(moment: str) -> None:
        if moment == kill.moment:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def dying(path: Path, *, is_locked: bool = False) -> Iterator[Path]:
        is_aimed_at = path.suffix == ".ckpt" and next(numbers) == kill.number
        if is_aimed_at:
            die("before")
        with replacing(path, is_locked=is_locked) as unfinished:
            yield unfinished
            if is_aimed_at and kill.moment == "within":
                os.truncate(unfinished, unfinished.stat().st_size // 2)
                die("within")
        if is_aimed_at:
            die("after")

    mock.patch.object(files, "replacing", dying).start()
