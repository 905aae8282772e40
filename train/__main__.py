"""Train a recurrent classifier: `python -m train model=np-rnn`; `python -m train --help`."""

from __future__ import annotations

import os
import sys
from functools import partial

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from pipeline.console import INTERRUPTED, OK, SOME_FAILED, run_command
from pipeline.runs import load_run
from train.config import prepare_arguments, resolve_config
from train.groups import register_groups
from train.overrides import explain_config_error

_HOW_TO_GO_ON = "Run the same command again: it goes on after its last whole epoch."


class RunFailedError(Exception):
    """A run of a grid was refused or diverged, and said so; the others are trained all the same."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> int:
    """The command's exit code; of a grid, that of its first run that failed."""
    try:
        sys.argv[1:] = prepare_arguments(sys.argv[1:])
        register_groups()
        # Else Hydra prints what it finds wrong itself, and exits with 1.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        _train()
    except RunFailedError as failed:
        return failed.code
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain_config_error(error)) from error
    return OK


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def _train(config: DictConfig) -> None:
    # A process for another device begins as this command, which it finds here: of a grid, this job.
    sys.argv[1:] = list(HydraConfig.get().overrides.task)
    code = run_command(partial(_train_run, config), how_to_go_on=_HOW_TO_GO_ON)
    if code == OK:
        return
    if code != INTERRUPTED and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise RunFailedError(code)  # which Hydra raises again when the grid is at its end
    sys.exit(code)


def _train_run(config: DictConfig) -> int:
    content = resolve_config(config)
    from train.fit import train_run  # noqa: PLC0415 - --help and wrong values need no torch
    from train.ranks import is_first  # noqa: PLC0415

    folder = train_run(content)
    if not is_first():
        return OK
    if load_run(folder).divergence:
        return SOME_FAILED
    print(f"Next: python -m eval --run {folder}")
    return OK


if __name__ == "__main__":
    sys.exit(run_command(main, how_to_go_on=_HOW_TO_GO_ON))
