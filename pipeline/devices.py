"""The device that a command computes on."""

from __future__ import annotations

from pipeline.choices import check_choice

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(name: str) -> str:
    """`cpu` or `cuda`; `auto` is the GPU where there is one.

    Raises ValueError for another name, and for a GPU that torch does not find.
    """
    check_choice("--device", name, DEVICES)
    import torch  # noqa: PLC0415 - whoever only asks for DEVICES needs none

    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ValueError(
            "--device cuda: expected a CUDA device, found none that torch can use.\n"
            "Pass --device cpu, or install a torch built for this machine's GPU driver."
        )
    return "cuda" if name != "cpu" and has_gpu else "cpu"
