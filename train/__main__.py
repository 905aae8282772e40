"""Train a recurrent classifier: `python -m train model=np-rnn`; `python -m train --help`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.console import OK, SOME_FAILED, run_command
from pipeline.runs import load_run
from train.config import prepare_arguments, resolve_config
from train.grid import (
    COMPLETE,
    DIVERGED,
    IN_USE,
    REFUSED_RUN,
    TRAINED,
    Outcome,
    describe_grid,
    judge_grid,
    train_grid,
)
from train.groups import register_groups
from train.overrides import explain_config_error

_HOW_TO_GO_ON = "Run the same command again: it goes on after its last whole epoch."
_GRID = {"-m", "--multirun"}


def main() -> int:
    """The command's exit code."""
    try:
        arguments = prepare_arguments(sys.argv[1:])
        register_groups()
        overrides = [argument for argument in arguments if argument not in _GRID]
        if len(overrides) < len(arguments) and not any(o.startswith("-") for o in overrides):
            return _train_grid(overrides)
        sys.argv[1:] = arguments
        # Else Hydra prints what it finds wrong itself, and exits with 1.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        _train()
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain_config_error(error)) from error
    return OK


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def _train(config: DictConfig) -> None:
    if code := run_command(partial(_train_alone, config), how_to_go_on=_HOW_TO_GO_ON):
        sys.exit(code)


def _train_alone(config: DictConfig) -> int:
    return SOME_FAILED if _train_run(config).state == DIVERGED else OK


def _train_grid(overrides: Sequence[str]) -> int:
    outcomes = train_grid(overrides, _train_of_grid)
    from train.ranks import is_first  # noqa: PLC0415

    if is_first():
        print(describe_grid(outcomes))
    return judge_grid(outcomes)


def _train_of_grid(config: DictConfig) -> Outcome:
    """What became of the run: whatever it is, the others are trained."""
    try:
        return _train_run(config)
    except (ValueError, OSError) as error:
        from train.fit import RunInUseError  # noqa: PLC0415

        is_in_use = isinstance(error, RunInUseError)
        print(error if is_in_use else f"error: {error}", file=sys.stderr)
        return Outcome(IN_USE) if is_in_use else Outcome(REFUSED_RUN, str(error))


def _train_run(config: DictConfig) -> Outcome:
    # A process for another device begins as this command, which it finds here: of a grid, this job.
    task = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(task, list)
    sys.argv[1:] = task
    content = resolve_config(config)
    from train.fit import find_or_train  # noqa: PLC0415 - --help and wrong values need no torch
    from train.ranks import is_first  # noqa: PLC0415

    folder, is_new = find_or_train(content)
    if not is_first():
        return Outcome(TRAINED)
    if divergence := load_run(folder).divergence:
        return Outcome(DIVERGED, divergence)
    print(f"Next: python -m eval --run {folder}")
    return Outcome(TRAINED if is_new else COMPLETE)


if __name__ == "__main__":
    sys.exit(run_command(main, how_to_go_on=_HOW_TO_GO_ON))
