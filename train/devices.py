"""The devices and the arithmetic that a training asks for, checked against those there are."""

from __future__ import annotations

import os
from typing import Any

from pipeline.choices import check_choice
from pipeline.recurrent.spec import NetSpec

# Whoever only asks which names there are needs no torch.
# ruff: noqa: PLC0415

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
STRATEGIES = ("auto", "ddp", "ddp_spawn")
PRECISIONS = ("32-true", "64-true", "bf16-true", "16-true", "bf16-mixed", "16-mixed")
# torch solves no triangular system, and makes no complex numbers, of 16 bits.
_NEED_32_BITS = ("orthogonal-rnn", "lru")
_OF_NODES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


def find_accelerator(name: str) -> str:
    """`cpu`, `cuda` or `mps`; ValueError for another name, and for one that is not here."""
    import torch

    check_choice("trainer.accelerator", name, ACCELERATORS)
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    found = [accelerator for accelerator in (*here, "cpu") if here.get(accelerator, True)]
    if name == "auto":
        return found[0]
    if name == "gpu" and found[0] != "cpu":
        return found[0]
    if name not in found:
        what = {"mps": "Apple GPU"}.get(name, "CUDA device")
        raise ValueError(
            f"trainer.accelerator={name}, but PyTorch finds no {what}: it finds "
            f"{', '.join(found)}.\n"
            f"Pass trainer.accelerator={found[0]}, or install a driver and a build of PyTorch "
            f"for it."
        )
    return name


def find_devices(devices: Any, accelerator: str) -> int | list[int]:
    """How many devices this machine gives to the training, or the numbers of its GPUs.

    `auto` is one, or as many as torchrun starts processes here. A CPU's devices are processes, one
    for each core at most.
    Raises ValueError for anything that is no number of devices, and for more than there are.
    """
    started = _read_number("LOCAL_WORLD_SIZE") if _is_of_torchrun() else None
    num_here = _count_here(accelerator)
    if devices == "auto":
        devices = started or 1
    elif devices == -1 and accelerator == "cuda":
        devices = num_here
    if isinstance(devices, list):
        _check_numbers(devices, accelerator, num_here)
    elif started is None or accelerator != "cpu":
        _check_number(devices, accelerator, num_here)
    if started not in (None, devices if isinstance(devices, int) else len(devices)):
        raise ValueError(
            f"trainer.devices={devices}, but torchrun started {started} processes on this "
            f"machine.\nLeave trainer.devices out, or pass another torchrun --nproc-per-node."
        )
    return list(devices) if isinstance(devices, list) else int(devices)


def _check_number(devices: Any, accelerator: str, num_here: int) -> None:
    if isinstance(devices, bool) or not isinstance(devices, int):
        raise ValueError(
            f"trainer.devices: expected auto, a number of devices, or a list of the numbers of "
            f"GPUs, found {devices!r}."
        )
    if not 1 <= devices <= num_here:
        what = "cores, one for each process" if accelerator == "cpu" else f"{accelerator} devices"
        raise ValueError(
            f"trainer.devices={devices} with trainer.accelerator={accelerator}: expected 1 to "
            f"{num_here}, as this machine has {num_here} {what}.\n"
            f"Pass trainer.devices={num_here}."
        )


def _check_numbers(numbers: list[Any], accelerator: str, num_here: int) -> None:
    allowed = list(range(num_here)) if accelerator == "cuda" else []
    if not numbers or len(set(map(str, numbers))) < len(numbers) or set(numbers) - set(allowed):
        raise ValueError(
            f"trainer.devices={numbers} with trainer.accelerator={accelerator}: expected numbers "
            f"of GPUs, each once, of {allowed}.\nPass a number of devices: trainer.devices=1."
        )


def count_devices(devices: int | list[int]) -> int:
    """The number of the devices that `find_devices` found."""
    return len(devices) if isinstance(devices, list) else devices


def count_cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count_here(accelerator: str) -> int:
    import torch

    if accelerator == "cuda":
        return torch.cuda.device_count()
    return count_cores() if accelerator == "cpu" else 1


def find_num_nodes(num_nodes: Any) -> int:
    """The number of machines; `auto` is one, or as many as torchrun knows.

    Raises ValueError for no such number, for another one than torchrun's, and where nothing says
    how the machines find each other.
    """
    started = None
    if _is_of_torchrun():
        started = _read_number("WORLD_SIZE") // _read_number("LOCAL_WORLD_SIZE")
    if num_nodes == "auto":
        num_nodes = started or 1
    if isinstance(num_nodes, bool) or not isinstance(num_nodes, int) or num_nodes < 1:
        raise ValueError(f"trainer.num_nodes: expected auto, 1 or more, found {num_nodes!r}.")
    if started not in (None, num_nodes):
        raise ValueError(
            f"trainer.num_nodes={num_nodes}, but torchrun started on {started}.\n"
            f"Leave trainer.num_nodes out, or pass torchrun --nnodes {num_nodes}."
        )
    if num_nodes > 1 and started is None and "SLURM_NTASKS" not in os.environ:
        _check_meeting(num_nodes)
    return num_nodes


def _check_meeting(num_nodes: int) -> None:
    missing = [name for name in _OF_NODES if name not in os.environ]
    if missing:
        raise ValueError(
            f"trainer.num_nodes={num_nodes}: expected {', '.join(_OF_NODES)} in the environment, "
            f"found no {' and no '.join(missing)}.\n"
            f"Set them on every machine (NODE_RANK from 0 up), or start with torchrun or srun."
        )
    if not 0 <= (rank := _read_number("NODE_RANK")) < num_nodes:
        raise ValueError(
            f"NODE_RANK={rank}: expected 0 to {num_nodes - 1} with trainer.num_nodes={num_nodes}."
        )


def _is_of_torchrun() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def _read_number(variable: str) -> int:
    text = os.environ[variable]
    if not text.strip().isdecimal():
        raise ValueError(f"{variable}={text!r} in the environment: expected a whole number.")
    return int(text)


def check_strategy(strategy: str, accelerator: str) -> None:
    """Refuse a strategy that is none, or not for this accelerator."""
    check_choice("trainer.strategy", strategy, STRATEGIES)
    if accelerator == "mps" and strategy != "auto":
        raise ValueError(
            f"trainer.strategy={strategy} is not for trainer.accelerator=mps: leave it out."
        )


def check_precision(precision: str, accelerator: str, *, net: NetSpec, optimizer: str) -> None:
    """Refuse an arithmetic that is none, or that what is trained, or trains, cannot compute in."""
    check_choice("trainer.precision", precision, PRECISIONS)
    if precision.startswith("16") and accelerator == "cpu":
        raise ValueError(
            f"trainer.precision={precision} needs a GPU, but training runs on the CPU: gradients "
            f"in float16 vanish without hardware and scaling made for it.\n"
            f"Pass trainer.precision={precision.replace('16', 'bf16')}, or 32-true."
        )
    if precision == "16-true" and optimizer != "sgd":
        raise ValueError(
            f"trainer.precision=16-true with optimizer={optimizer}: the squares of gradients that "
            f"it divides by are 0 in float16.\n"
            f"Pass trainer.precision=bf16-true or 16-mixed, or optimizer=sgd."
        )
    if precision in ("bf16-true", "16-true") and net.name in _NEED_32_BITS:
        raise ValueError(
            f"trainer.precision={precision}, but PyTorch cannot compute {net.name} with weights "
            f"of 16 bits.\nPass trainer.precision=bf16-mixed or 32-true, or another model."
        )
