"""How a training is computed, which changes nothing of what is learned; read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.choices import check_choice
from pipeline.fields import hold_fields
from train.devices import (
    ACCELERATORS,
    check_strategy,
    count_cores,
    count_devices,
    find_accelerator,
    find_devices,
    find_num_nodes,
)

_MOST_WORKERS = 256


@dataclass(frozen=True)
class ComputeSpec:
    """Loading processes, threads, updates in a call of the kernel, and devices, as configured.

    A training runs in one process for each device of each node.
    """

    num_workers: int
    threads: int | Literal["auto"]
    updates_per_step: int | Literal["auto"]
    accelerator: str
    devices: Any
    num_nodes: int | Literal["auto"]
    strategy: str

    def __post_init__(self) -> None:
        hold_fields(self, "trainer")
        check_choice("trainer.accelerator", self.accelerator, ACCELERATORS)
        if not 0 <= self.num_workers <= _MOST_WORKERS:
            raise ValueError(
                f"trainer.num_workers: expected a number of processes from 0 to {_MOST_WORKERS}, "
                f"found {self.num_workers}."
            )
        if self.threads != "auto" and not 1 <= self.threads <= count_cores():
            raise ValueError(
                f"trainer.threads: expected a number from 1 to {count_cores()}, as this process "
                f"may use {count_cores()} cores, or auto, found {self.threads}."
            )
        if self.updates_per_step != "auto" and self.updates_per_step < 1:
            raise ValueError(
                f"trainer.updates_per_step: expected a number from 1 up, or auto, "
                f"found {self.updates_per_step}."
            )

    def check_machine(self) -> None:
        """Refuse what this machine has not."""
        check_strategy(self.strategy, self.found_accelerator)
        assert self.num_processes >= 1  # else it was refused

    @property
    def found_threads(self) -> int:
        """The threads that one process computes with on a CPU.

        auto: as torch finds them, which is one a core, or those that a launcher of several
        processes leaves to each by OMP_NUM_THREADS.
        """
        import torch  # noqa: PLC0415

        return torch.get_num_threads() if self.threads == "auto" else self.threads

    @property
    def found_accelerator(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return find_accelerator(self.accelerator)

    @property
    def found_devices(self) -> int | list[int]:
        """How many devices of each node, or their numbers."""
        return find_devices(self.devices, self.found_accelerator)

    @property
    def found_num_nodes(self) -> int:
        """The number of machines."""
        return find_num_nodes(self.num_nodes)

    @property
    def num_processes(self) -> int:
        """The number of processes that train together."""
        return count_devices(self.found_devices) * self.found_num_nodes
