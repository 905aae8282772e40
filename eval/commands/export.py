"""A net for other devices: `python -m eval export`."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from eval.commands import options as shared
from eval.commands.verb import Verb
from pipeline.console import OK

# ruff: noqa: PLC0415

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_SUMMARY = "The net as ONNX graphs for other devices, compared with the net in torch."
_EPILOG = """examples:
  python -m eval export --run runs/a               the net: features in, labels out
  python -m eval export --run runs/a --with-backbone
                                                   and the encoder: frames in, labels out

Writes step.onnx (a frame's features and the state in, outputs and the state out), clip.onnx (whole
clips), step-int8.onnx and export.json.
It needs an extra: pip install -c constraints.txt -e ".[export]\""""


def _add_options(parser: argparse.ArgumentParser) -> None:
    shared.add_runs(parser)
    parser.add_argument("--with-backbone", action="store_true", help="write backbone.onnx too")
    shared.add_weights(parser)
    shared.add_features(parser)
    shared.add_out(parser, "<run>/export/; for several runs a folder each in DIR")


def _run(options: argparse.Namespace) -> int:
    if options.weights is not None and not options.with_backbone:
        raise ValueError("--weights are the backbone's: add --with-backbone, or leave them out.")
    _check_installed()
    runs = shared.choose_runs(options.run)
    shared.check_out(runs, options.out)
    from eval.export.export import export_run
    from pipeline.runs import load_run

    for folder in runs:
        export = export_run(
            load_run(folder),
            out=options.out / folder.name if options.out and len(runs) > 1 else options.out,
            features=options.features,
            with_backbone=options.with_backbone,
            weights=options.weights,
        )
        print(export)
    return OK


def _check_installed() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"An export needs {' and '.join(missing)}, which this Python does not have.\n"
            f'Install what exporting needs: pip install -c constraints.txt -e ".[export]"'
        )


EXPORT = Verb("export", _SUMMARY, _EPILOG, _add_options, _run)
