"""The options and the command for a user's own videos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.pages.text import show_path
from eval.serve.app import LOOPBACK, Limits, serve
from eval.videos.answers import format_answer, format_csv, format_json
from eval.videos.decoding import VideoFailure, find_videos
from eval.videos.live import describe_report, watch_live
from eval.videos.segments import WINDOW_SECONDS
from eval.videos.videos import Classifier, VideoAnswer, Wanted, load_classifier, read_videos
from eval.videos.watch import write_pages
from pipeline.console import OK, REFUSED, SOME_FAILED
from pipeline.runs import load_run

EXAMPLES = """  python -m eval --run runs/a --videos my.mp4 other/ --top 5
                                                   what the run says of your own videos
  python -m eval --run runs/a --videos my.mp4 --segments --json
                                                   what is seen when, for machines
  python -m eval --run runs/a --camera 0           what it says now, once a second"""
_DEFAULTS = {
    "top": None, "json": False, "csv": False, "weights": None, "segments": False, "window": None,
    "carry": False, "page": None, "camera": None,
    "stream": None,
    "serve": False, "host": None, "port": None,
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """The group of options."""
    group = parser.add_argument_group(
        "your own videos",
        "With one of these options, with a file, or with several paths, --videos are decoded, "
        "encoded as the run's features were, and classified. One folder alone keeps its other "
        "meaning: the clips' folder, to show frames in the report.",
    )
    group.add_argument(
        "--videos", type=Path, nargs="+", metavar="PATH", help="video files, or folders of them"
    )
    group.add_argument(
        "--weights", type=Path, metavar="FILE",
        help="the encoder's weights, if the features were made with those of a file",
    )  # fmt: skip
    group.add_argument("--top", type=int, metavar="N", help="labels a video; default: 5")
    form = group.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="answers as JSON on standard output")
    form.add_argument("--csv", action="store_true", help="answers as CSV on standard output")
    group.add_argument(
        "--segments", action="store_true", help="what is seen when: start, end, label, probability"
    )
    group.add_argument(
        "--window", type=float, metavar="SECONDS",
        help=f"how often --segments are answered; default: {WINDOW_SECONDS:g}",
    )  # fmt: skip
    group.add_argument(
        "--carry", action="store_true",
        help="with --segments: carry the net's state from window to window, do not reset it",
    )  # fmt: skip
    group.add_argument(
        "--page", type=Path, metavar="FILE",
        help="a page with the video and the probabilities over its time; an index over several",
    )  # fmt: skip
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--camera", type=int, metavar="N", help="watch a camera, 0 the first; Ctrl-C ends it"
    )
    source.add_argument(
        "--stream", metavar="URL",
        help="watch a stream as it comes, - for standard input; late frames are dropped",
    )  # fmt: skip
    source.add_argument(
        "--serve", action="store_true",
        help="a web page on this computer: drop videos on it, or use the browser's camera",
    )  # fmt: skip
    group.add_argument(
        "--host", metavar="ADDRESS",
        help=f"with --serve: default {LOOPBACK}, this computer alone; others may use it elsewhere",
    )  # fmt: skip
    group.add_argument("--port", type=int, metavar="N", help="with --serve; default: 8000")


def is_asked(options: argparse.Namespace) -> bool:
    """Whether the options ask for answers to videos, not for a report on the run's own clips."""
    paths = options.videos or []
    given = any(getattr(options, name) != value for name, value in _DEFAULTS.items())
    return given or len(paths) > 1 or any(not path.is_dir() for path in paths)


def find_unused(options: argparse.Namespace) -> list[str]:
    """Options for the report, given with answers to videos: those without effect."""
    given = {
        "--part": options.part,
        "--out": options.out,
        "--predictions": options.predictions,
        "--study": options.study,
        "--dynamics": options.dynamics,
        "--batch-size": options.batch_size != 256,
    }
    return [name for name, value in given.items() if value]


def check_options(options: argparse.Namespace) -> None:
    """Raise ValueError for options that have no effect or cannot be."""
    unused = find_unused(options)
    if unused:
        raise ValueError(f"{', '.join(unused)}: no effect on answers to videos. Leave it out.")
    if options.run is not None and len(options.run) > 1:
        raise ValueError(f"Videos are read by one run; found {len(options.run)} in --run.")
    if not options.serve and (options.host is not None or options.port is not None):
        raise ValueError("--host and --port are about --serve: add it, or leave them out.")
    if options.serve or options.camera is not None or options.stream is not None:
        _check_live(options)
        return
    if not options.videos:
        raise ValueError("--videos: expected files or folders to classify, found none.")
    if options.top is not None and options.top < 1:
        raise ValueError(f"--top: expected 1 or more, found {options.top}.")
    if options.window is not None and not 0 < options.window < float("inf"):
        raise ValueError(f"--window: expected seconds above 0, found {options.window:g}.")
    if (options.carry or options.window is not None) and not options.segments:
        raise ValueError("--window and --carry are about segments: add --segments.")


def _check_live(options: argparse.Namespace) -> None:
    unused = ("videos", "top", "csv", "segments", "window", "carry", "page")
    given = [f"--{name}" for name in unused if getattr(options, name)]
    if given:
        raise ValueError(
            f"{', '.join(given)}: no effect on --camera, --stream or --serve. Leave it out."
        )
    if options.camera is not None and options.camera < 0:
        raise ValueError(f"--camera: expected 0 or more, found {options.camera}.")


def run_videos(options: argparse.Namespace, run: Path) -> int:
    """The command, for files or for what comes live."""
    check_options(options)
    if options.serve:
        return serve_videos(options, run)
    if options.camera is None and options.stream is None:
        return answer_videos(options, run)
    source = options.stream if options.camera is None else f"camera:{options.camera}"
    classifier = load_classifier(
        load_run(run), weights=options.weights, features=options.features, device=options.device
    )
    _say(str(classifier.calibration))
    report = watch_live(
        source, classifier, as_json=options.json, tell=lambda line: print(line, flush=True)
    )
    print(describe_report(report, as_json=options.json))
    return OK


def serve_videos(options: argparse.Namespace, run: Path) -> int:
    """The command of --serve."""
    classifier = load_classifier(
        load_run(run), weights=options.weights, features=options.features, device=options.device
    )
    _say(str(classifier.calibration))
    host, port = options.host or LOOPBACK, options.port or 8000
    _say(f"Open http://{host}:{port}/ ; Ctrl-C ends it.")
    serve(classifier, host=host, port=port, limits=Limits())
    return OK


def answer_videos(options: argparse.Namespace, run: Path) -> int:
    """The command: answers on standard output, everything else on standard error."""
    paths, failures = find_videos(options.videos)
    classifier = load_classifier(
        load_run(run), weights=options.weights, features=options.features, device=options.device
    )
    _say(str(classifier.calibration))
    window = (options.window or WINDOW_SECONDS) if options.segments else None
    wanted = Wanted(window, carries=options.carry, timeline=options.page is not None)
    answers: list[VideoAnswer] = []
    for failure in failures:
        _tell_failure(failure)
    for answer in read_videos(classifier, paths, wanted=wanted, say=_say):
        if isinstance(answer, VideoFailure):
            failures.append(answer)
            _tell_failure(answer)
            continue
        answers.append(answer)
        if not (options.json or options.csv):
            print(format_answer(answer, classifier.labels, top=options.top or 5), flush=True)
    _print_all(answers, failures, classifier, options=options)
    if options.page is not None and answers:
        _say(f"page: {write_pages(options.page, answers, classifier)[0]}")
    if not failures:
        return OK
    return SOME_FAILED if answers else REFUSED


def _print_all(
    answers: Sequence[VideoAnswer],
    failures: Sequence[VideoFailure],
    classifier: Classifier,
    *,
    options: argparse.Namespace,
) -> None:
    top = options.top or 5
    if options.json:
        print(format_json(answers, failures, classifier, top=top))
    elif options.csv:
        print(format_csv(answers, classifier.labels, top=top), end="")
    if not answers:
        return
    num = sum(answer.num_steps for answer in answers)
    stages = {
        "decode": sum(a.stages.decode_ms * a.num_steps for a in answers) / num,
        "CNN": sum(a.stages.encode_ms * a.num_steps for a in answers) / num,
        "recurrent step": sum(a.stages.step_ms * a.num_steps for a in answers) / num,
    }
    spent = ", ".join(f"{name} {value:.3g} ms" for name, value in stages.items())
    _say(f"{len(answers)} videos, {num:,} frames read; a frame: {spent}.")


def _tell_failure(failure: VideoFailure) -> None:
    _say(f"{show_path(failure.path)}: {failure.reason}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
