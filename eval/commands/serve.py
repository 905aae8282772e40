"""A page on this computer that asks a run: `python -m eval serve`."""

from __future__ import annotations

import argparse

from eval.commands import options as shared
from eval.commands.verb import Verb
from pipeline.console import OK

# ruff: noqa: PLC0415

_SUMMARY = "A web page on this computer: drop a video on it, or use the browser's camera."
_EPILOG = """examples:
  python -m eval serve                             the newest run, on http://127.0.0.1:8000/
  python -m eval serve --run runs/a --port 8080
  python -m eval serve --run runs/a --host 0.0.0.0
                                                   for others in the network too

Videos are deleted once they are read; a camera's frames never touch the disk. Ctrl-C ends it.
It needs an extra: pip install -c constraints.txt -e ".[serve]\""""


def _add_options(parser: argparse.ArgumentParser) -> None:
    shared.add_classifier(parser)
    parser.add_argument(
        "--host", metavar="ADDRESS", help="default: an address that only this computer reaches"
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="default: 8000")


def _run(options: argparse.Namespace) -> int:
    run = shared.load_asked_run(options)
    from eval.serve.app import LOOPBACK, Limits, serve

    classifier = shared.load_asked(options, run)
    host = options.host or LOOPBACK
    shared.say(f"Open http://{host}:{options.port}/ ; Ctrl-C ends it.")
    serve(classifier, host=host, port=options.port, limits=Limits())
    return OK


SERVE = Verb("serve", _SUMMARY, _EPILOG, _add_options, _run)
