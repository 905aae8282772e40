"""Train a recurrent classifier: `python -m train model=np-rnn`; `python -m train --help`."""

from __future__ import annotations

import sys
from collections.abc import Callable

import hydra
from omegaconf import DictConfig

from pipeline.console import OK, run_command
from train.config import prepare_arguments, resolve_config
from train.groups import register_groups


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> None:
    """The command."""

    def train() -> int:
        from train.fit import train_run  # noqa: PLC0415 - --help and wrong keys need no torch

        folder = train_run(resolve_config(config))
        print(f"Next: python -m eval --run {folder}")
        return OK

    _exit_unless_ok(train)


def _exit_unless_ok(command: Callable[[], int]) -> None:
    code = run_command(
        command, how_to_go_on="Run the same command again: it goes on after its last whole epoch."
    )
    if code != OK:
        sys.exit(code)


def _prepare_arguments() -> int:
    sys.argv[1:] = prepare_arguments(sys.argv[1:])
    return OK


if __name__ == "__main__":
    _exit_unless_ok(_prepare_arguments)
    register_groups()
    main()
