"""What a run says of one's own videos: `python -m eval predict`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eval.commands import options as shared
from eval.commands.verb import Verb
from pipeline.console import OK, REFUSED, SOME_FAILED

if TYPE_CHECKING:
    from eval.videos.decoding import VideoFailure
    from eval.videos.videos import Classifier, VideoAnswer

# ruff: noqa: PLC0415

_WINDOW_SECONDS = 2.0
_SUMMARY = "What a run says of your own videos."
_EPILOG = """examples:
  python -m eval predict my.mp4                    by the newest run below runs/
  python -m eval predict --run runs/a my.mp4 other/ --top 3
                                                   files, and all videos of a folder
  python -m eval predict --run runs/a my.mp4 --segments --json
                                                   what is seen when, for machines
  python -m eval predict --run runs/a my.mp4 --page out.html
                                                   the video beside its probabilities
  python -m eval predict --run runs/a my.mp4 --threshold 0.6
                                                   none of these, if no label reaches 0.6
  python -m eval predict --run runs/a my.mp4 --annotate out.gif
                                                   the video with its answer drawn in, to pass on

The videos are decoded and encoded as the run's features were. Answers go to standard output.
exit code: 0; 1 if a video could not be read; 2 if none could, or nothing could be done."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", type=Path, nargs="+", metavar="PATH", help="video files, or folders of them")
    shared.add_classifier(parser)
    add("--top", type=shared.read_positive, default=5, metavar="N", help="labels; default: 5")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="answers as JSON on standard output")
    form.add_argument("--csv", action="store_true", help="answers as CSV on standard output")
    add("--segments", action="store_true", help="what is seen when: start, end, label, probability")
    add(
        "--window",
        type=_read_seconds,
        metavar="SECONDS",
        help=f"how often --segments are answered; default: {_WINDOW_SECONDS:g}",
    )
    add(
        "--carry",
        action="store_true",
        help="with --segments: carry the net's state from window to window, do not reset it",
    )
    add(
        "--page",
        type=Path,
        metavar="FILE",
        help="a page with the video and the probabilities over its time; an index over several",
    )
    add(
        "--annotate",
        type=_read_annotated,
        metavar="FILE",
        help="an .mp4 or .gif of the one video, the answer and its curve drawn below every frame",
    )


def _read_annotated(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise argparse.ArgumentTypeError(f"expected a name in .mp4 or .gif, found {text!r}")
    return path


def _read_seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, found {seconds:g}")
    return seconds


def _run(options: argparse.Namespace) -> int:
    if (options.carry or options.window is not None) and not options.segments:
        raise ValueError("--window and --carry are about segments: add --segments.")
    run = shared.load_asked_run(options)
    from eval.videos.answers import format_answer
    from eval.videos.decoding import VideoFailure, find_videos
    from eval.videos.videos import Wanted, read_videos

    paths, failures = find_videos(options.paths)
    if options.annotate is not None:
        _check_annotated(options.annotate, paths)
    classifier = shared.load_asked(options, run)
    window = (options.window or _WINDOW_SECONDS) if options.segments else None
    has_pictures = options.page is not None or options.annotate is not None
    wanted = Wanted(window, carries=options.carry, timeline=has_pictures)
    answers: list[VideoAnswer] = []
    for failure in failures:
        _tell_failure(failure)
    for answer in read_videos(classifier, paths, wanted=wanted, say=shared.say):
        if isinstance(answer, VideoFailure):
            failures.append(answer)
            _tell_failure(answer)
            continue
        answers.append(answer)
        if not (options.json or options.csv):
            print(format_answer(answer, classifier.labels, top=options.top), flush=True)
    _print_all(answers, failures, classifier, options=options)
    if options.page is not None and answers:
        from eval.videos.watch import write_pages

        shared.say(f"page: {write_pages(options.page, answers, classifier)[0]}")
    if options.annotate is not None and answers:
        from eval.videos.annotate import write_annotated

        write_annotated(options.annotate, answers[0], classifier)
        shared.say(f"annotated video: {options.annotate}")
    if not failures:
        return OK
    return SOME_FAILED if answers else REFUSED


def _check_annotated(out: Path, videos: Sequence[Path]) -> None:
    if len(videos) > 1:
        raise ValueError(
            f"--annotate: expected one video, found {len(videos)}. Give one at a time; "
            f"--page takes several."
        )
    if videos and out.absolute() == videos[0].absolute():
        raise ValueError(f"--annotate: {out} is the video itself. Give another name.")


def _print_all(
    answers: Sequence[VideoAnswer],
    failures: Sequence[VideoFailure],
    classifier: Classifier,
    *,
    options: argparse.Namespace,
) -> None:
    from eval.videos.answers import format_csv, format_json

    if options.json:
        print(format_json(answers, failures, classifier, top=options.top))
    elif options.csv:
        print(format_csv(answers, classifier.labels, top=options.top), end="")
    if answers:
        shared.say(_describe_time(answers))


def _describe_time(answers: Sequence[VideoAnswer]) -> str:
    num = sum(answer.num_steps for answer in answers)
    stages = {
        "decode": sum(a.stages.decode_ms * a.num_steps for a in answers) / num,
        "CNN": sum(a.stages.encode_ms * a.num_steps for a in answers) / num,
        "recurrent step": sum(a.stages.step_ms * a.num_steps for a in answers) / num,
    }
    spent = ", ".join(f"{name} {value:.3g} ms" for name, value in stages.items())
    return f"{len(answers)} videos, {num:,} frames read; a frame: {spent}."


def _tell_failure(failure: VideoFailure) -> None:
    from eval.pages.text import show_path

    shared.say(f"{show_path(failure.path)}: {failure.reason}")


PREDICT = Verb("predict", _SUMMARY, _EPILOG, _add_options, _run)
