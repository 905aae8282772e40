"""The options and the command that export a run to other devices."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pipeline.console import OK
from pipeline.runs import load_run

EXAMPLES = """  python -m eval --run runs/a --export onnx        the net for other devices, checked
  python -m eval --run runs/a --export onnx --with-backbone --weights bvlc_googlenet.npz
                                                   and the encoder: frames in, labels out"""
FORMATS = ("onnx",)
_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_UNUSED = (
    "part", "videos", "predictions", "study", "dynamics", "top", "json", "csv", "segments",
    "window", "carry", "page", "camera", "stream", "serve",
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """The group of options."""
    group = parser.add_argument_group(
        "shipping",
        "Writes step.onnx (a frame's features and the state in, outputs and the state out),\n"
        "clip.onnx (whole clips), step-int8.onnx and export.json to <run>/export/ or --out,\n"
        "after comparing them with the net in torch.",
    )
    group.add_argument("--export", choices=FORMATS, help="write the net for other devices")
    group.add_argument(
        "--with-backbone", action="store_true",
        help="with --export: backbone.onnx too; --weights if its weights are those of a file",
    )  # fmt: skip


def is_asked(options: argparse.Namespace) -> bool:
    """Whether the options ask for an export."""
    return options.export is not None or options.with_backbone


def ship(options: argparse.Namespace, runs: Sequence[Path]) -> int:
    """The command."""
    _check_options(options)
    _check_installed()
    from eval.export.export import export_run  # noqa: PLC0415

    for folder in runs:
        out = options.out / folder.name if options.out and len(runs) > 1 else options.out
        export = export_run(
            load_run(folder), out=out, features=options.features,
            with_backbone=options.with_backbone, weights=options.weights,
        )  # fmt: skip
        print(export)
    return OK


def _check_options(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name, None) for name in _UNUSED}
    unused = [
        f"--{name}" for name, value in given.items() if value is not None and value is not False
    ]
    if options.weights is not None and not options.with_backbone:
        unused.append("--weights without --with-backbone")
    if unused:
        raise ValueError(f"{' and '.join(unused)} has no effect with --export: leave it out.")
    if options.export is None:
        raise ValueError("--with-backbone is about an export: add --export onnx.")


def _check_installed() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--export onnx needs {' and '.join(missing)}, which this Python does not have.\n"
            f'Install what exporting needs: pip install -c constraints.txt -e ".[export]"'
        )
