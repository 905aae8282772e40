"""The device that a command computes on."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
"""What `--device` takes; N is a GPU's number from 0 up."""


def read_device(text: str) -> str:
    """The text, for argparse, if it is one of DEVICES; whether it is here is asked later."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", text):
        raise ArgumentTypeError(f"expected one of {', '.join(DEVICES)}, found {text!r}")
    return text


def resolve_device(name: str) -> str:
    """`cpu`, `cuda`, `cuda:1` or `mps`; `auto` is the CUDA GPU where there is one, else the CPU.

    Raises ValueError for another name, and for a device that torch does not find.
    """
    try:
        read_device(name)
    except ArgumentTypeError as error:
        raise ValueError(f"--device: {error}.") from None
    import torch  # noqa: PLC0415 - whoever only asks for DEVICES needs none

    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if num_gpus else "cpu"
    here = ["cuda", *(f"cuda:{number}" for number in range(num_gpus))] if num_gpus else []
    here += ["mps"] if torch.backends.mps.is_available() else []
    if name not in [*here, "cpu"]:
        raise ValueError(
            f"--device {name}: expected one that torch can use here, found only "
            f"{', '.join([*here, 'cpu'])}.\n"
            f"Pass --device {[*here, 'cpu'][0]}, or install a torch built for this machine's GPU "
            f"driver."
        )
    return name
