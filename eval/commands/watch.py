"""What a run says of a camera or a stream as it comes: `python -m eval watch`."""

from __future__ import annotations

import argparse

from eval.commands import options as shared
from eval.commands.verb import Verb
from pipeline.console import OK

# ruff: noqa: PLC0415

_SUMMARY = "What a run says of a camera or a stream, once a second."
_EPILOG = """examples:
  python -m eval watch --camera 0                  the first camera, by the newest run below runs/
  python -m eval watch --run runs/a --stream rtsp://host/door --json
                                                   a stream, a line of JSON a second
  ffmpeg ... -f matroska - | python -m eval watch --stream -
                                                   standard input

Frames that come too late are dropped and counted. Ctrl-C ends it."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--camera", type=_read_camera, metavar="N", help="a camera, 0 the first")
    source.add_argument("--stream", metavar="URL", help="a stream, - for standard input")
    shared.add_classifier(parser)
    parser.add_argument("--json", action="store_true", help="lines of JSON on standard output")


def _read_camera(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, found {number}")
    return number


def _run(options: argparse.Namespace) -> int:
    run = shared.load_asked_run(options)
    from eval.videos.live import describe_report, watch_live

    source = options.stream if options.camera is None else f"camera:{options.camera}"
    report = watch_live(
        source,
        shared.load_asked(options, run),
        as_json=options.json,
        tell=lambda line: print(line, flush=True),
    )
    print(describe_report(report, as_json=options.json))
    return OK


WATCH = Verb("watch", _SUMMARY, _EPILOG, _add_options, _run)
