"""A grid: every run of it is trained once, whatever becomes of the others, and told at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hydra import initialize_config_module
from hydra._internal.callbacks import Callbacks
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from pipeline.console import OK, REFUSED, SOME_FAILED

TRAINED = "trained"
COMPLETE = "complete before"
BY_ANOTHER = "trained by another process"
IN_USE = "being trained by another process"
DIVERGED = "diverged"
REFUSED_RUN = "refused"
_FAILED = (DIVERGED, REFUSED_RUN)
_STATES = (TRAINED, COMPLETE, BY_ANOTHER, IN_USE, DIVERGED, REFUSED_RUN)


@dataclass(frozen=True)
class Outcome:
    """What became of a run of a grid, and why; `overrides` are its own."""

    state: str
    reason: str = ""
    overrides: str = ""


def train_grid(overrides: Sequence[str], train: Callable[[DictConfig], Outcome]) -> list[Outcome]:
    """What became of each run of the grid, in the order of Hydra's multirun.

    `train` gets the composed config of a run, in processes of their own where hydra/launcher says
    so, and raises nothing that a user can mend. Hydra's errors are raised before the first run.
    """
    with initialize_config_module(f"{__package__}.conf", version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        loader = hydra.config_loader
        config = hydra.compose_config("train", list(overrides), run_mode=RunMode.MULTIRUN)
        parsed = OverridesParser.create(loader).parse_overrides(config.hydra.overrides.task)
        (jobs,) = BasicSweeper.split_arguments(parsed, None)
        for job in jobs:
            loader.load_sweep_config(config, list(job))
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(loader, Callbacks(config)),
            task_function=train,
            config=config,
        )
        return _train_all(launcher, jobs)


def _train_all(launcher: Launcher, jobs: Sequence[Sequence[str]]) -> list[Outcome]:
    """Train each run; those in use elsewhere are looked at again until all of them still are."""
    outcomes = _launch(launcher, jobs)
    while left := [i for i, outcome in enumerate(outcomes) if outcome.state == IN_USE]:
        again = _launch(launcher, [jobs[i] for i in left])
        for i, outcome in zip(left, again, strict=True):
            was_elsewhere = outcome.state == COMPLETE
            outcomes[i] = replace(outcome, state=BY_ANOTHER) if was_elsewhere else outcome
        if all(outcome.state == IN_USE for outcome in again):
            break
    return outcomes


def _launch(launcher: Launcher, jobs: Sequence[Sequence[str]]) -> list[Outcome]:
    ended = launcher.launch([list(job) for job in jobs], initial_job_idx=0)
    return [
        replace(result.return_value, overrides=" ".join(filter_overrides(job)))
        for result, job in zip(ended, jobs, strict=True)
    ]


def describe_grid(outcomes: Sequence[Outcome]) -> str:
    """The number of runs in each state, then a line for each that is not at its end as it should.

    Overrides that all runs have in common are left out.
    """
    counts = Counter(outcome.state for outcome in outcomes)
    told = ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])
    lines = [f"{len(outcomes)} runs: {told}"]
    words = [outcome.overrides.split() for outcome in outcomes]
    common = set(words[0]).intersection(*words)
    for outcome, of_run in zip(outcomes, words, strict=True):
        if outcome.state in (IN_USE, *_FAILED):
            own = " ".join(word for word in of_run if word not in common)
            reason = outcome.reason.partition("\n")[0]
            lines.append(": ".join(["  " + outcome.state, *filter(None, (own, reason))]))
    return "\n".join(lines)


def judge_grid(outcomes: Sequence[Outcome]) -> int:
    """The exit code: runs that another process has in hand have not failed."""
    states = {outcome.state for outcome in outcomes}
    if states == {REFUSED_RUN}:
        return REFUSED
    return SOME_FAILED if states & set(_FAILED) else OK
