"""A page for a video: the video, what the net thought at every moment of it, and its frames."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from eval.pages.rendering import render_page
from eval.pages.svg import COLOURS
from eval.pages.text import show_path
from eval.predictions.unknown import is_known, name_answer, with_nearest
from eval.videos.pictures import Pictures, StripFrame, draw_band, read_pictures
from eval.videos.segments import Segment
from eval.videos.timeline import Timeline
from eval.videos.videos import Classifier, VideoAnswer
from pipeline.files import write_text

PAGE = "videos/watch.html"
INDEX = "videos/watch_index.html"
# Dashes tell curves apart without colour.
DASHES = ("", "7 3", "2 3")
_LEAST_PEAK = 0.01  # a curve below it would lie on the axis
_PLAYED = (".m4v", ".mov", ".mp4", ".webm")


@dataclass(frozen=True)
class IndexRow:
    """A video in the index: the address of its page, and a small picture of its middle, or ""."""

    address: str
    name: str
    picture: str
    label: str
    probability: float


@dataclass(frozen=True)
class DrawnCurve:
    """A label's probability over time: points of a polyline in 1000 x 200."""

    label: str
    colour: str
    dash: str
    points: str


def write_pages(out: Path, answers: Sequence[VideoAnswer], classifier: Classifier) -> list[Path]:
    """Write `out` for one video; for several `out` as an index and a page each in `<out>-pages/`.

    The pages written, the one to open first.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if len(answers) == 1:
        write_text(out, make_page(answers[0], classifier, page=out))
        return [out]
    folder = out.with_name(f"{out.stem}-pages")
    folder.mkdir(exist_ok=True)
    names = name_videos([answer.path for answer in answers])
    pages, rows = [], []
    for place, (answer, name) in enumerate(zip(answers, names, strict=True), start=1):
        page = folder / f"{place:03d}.html"
        pictures = read_pictures(answer)
        write_text(page, _make_page(answer, classifier, page, pictures))
        pages.append(page)
        address = quote(f"{folder.name}/{page.name}")
        rows.append(_make_row(answer, classifier, address, name, pictures.strip))
    title = f"{len(answers)} videos"
    write_text(out, render_page(INDEX, title=title, rows=rows, about=classifier.about))
    return [out, *pages]


def name_videos(paths: Sequence[Path]) -> list[str]:
    """Names of several videos as they can be shown: from the folder on that holds all of them."""
    absolute = [os.path.abspath(path) for path in paths]  # noqa: PTH100  # links are not followed
    folder = os.path.commonpath([os.path.dirname(path) for path in absolute])  # noqa: PTH120
    return [show_path(Path(os.path.relpath(path, folder))) for path in absolute]


def _make_row(
    answer: VideoAnswer,
    classifier: Classifier,
    address: str,
    name: str,
    strip: Sequence[StripFrame],
) -> IndexRow:
    (best,) = answer.top(1)
    label = with_nearest(answer.answer, classifier.labels[best], known=answer.is_known)
    middle = strip[len(strip) // 2].source if strip else ""
    return IndexRow(address, name, middle, label, float(answer.probabilities[best]))


def make_page(answer: VideoAnswer, classifier: Classifier, *, page: Path | None) -> str:
    """The page of an answer with a timeline, self-contained.

    A video that would be too large is left where it is: the page, to be written to `page`, links
    to it if browsers play its kind.
    """
    return _make_page(answer, classifier, page, read_pictures(answer))


def _make_page(
    answer: VideoAnswer, classifier: Classifier, page: Path | None, pictures: Pictures
) -> str:
    assert answer.timeline is not None
    labels, timeline = classifier.labels, answer.timeline
    shown = choose_labels(timeline)
    source, why = _find_source(answer, pictures.video, page)
    best = answer.top(1)[0]
    stretches = find_stretches(
        timeline, labels, threshold=classifier.threshold, end_seconds=answer.seconds
    )
    return render_page(
        PAGE,
        title=answer.path.name and show_path(Path(answer.path.name)),
        model=classifier.stepper.spec.name,
        run=classifier.run.folder.name,
        about=classifier.about,
        notes=answer.notes,
        num_frames=f"{answer.num_frames:,}",
        seconds=answer.seconds,
        answer=answer.answer,
        is_known=answer.is_known,
        nearest=labels[best],
        probability=answer.probabilities[best],
        source=source,
        why_no_video=why,
        curves=_draw_curves(timeline, labels, shown, end_seconds=answer.seconds),
        moments=timeline.seconds,
        strip=pictures.strip,
        band=draw_band(timeline.hidden),
        num_units=timeline.hidden.shape[1],
        stretches=stretches,
        description=_describe(stretches),
        thoughts=_write_thoughts(timeline, classifier, shown, total=answer.seconds),
    )


def find_stretches(
    timeline: Timeline,
    labels: Sequence[str],
    *,
    threshold: float | None = None,
    end_seconds: float,
) -> tuple[Segment, ...]:
    """Where one label was the likeliest, with its probability at the end of the stretch.

    Moments below the threshold are stretches of none; what is nearest is so at their end.
    """
    shares = timeline.probabilities
    best = np.where(_are_known(timeline, threshold), shares.argmax(axis=1), -1)
    starts = [0, *(np.flatnonzero(np.diff(best)) + 1).tolist()]
    ends = [*starts[1:], len(best)]
    return tuple(
        Segment(
            float(timeline.seconds[start]),
            float(timeline.seconds[end]) if end < len(best) else end_seconds,
            name_answer(shares[end - 1], labels, threshold),
            float(shares[end - 1].max()),
            nearest=labels[int(shares[end - 1].argmax())],
            is_known=bool(best[start] >= 0),
        )
        for start, end in zip(starts, ends, strict=True)
    )


def _are_known(timeline: Timeline, threshold: float | None) -> list[bool]:
    return [is_known(row, threshold) for row in timeline.probabilities]


def choose_labels(timeline: Timeline) -> list[int]:
    """The places of the labels that are drawn, the likeliest at the end first."""
    peaks = timeline.probabilities.max(axis=0)
    first, *rest = np.argsort(-peaks, kind="stable")[: len(COLOURS)].tolist()
    chosen = [first, *(place for place in rest if peaks[place] >= _LEAST_PEAK)]
    return sorted(chosen, key=lambda p: -timeline.probabilities[-1, p])


def _draw_curves(
    timeline: Timeline, labels: Sequence[str], shown: Sequence[int], *, end_seconds: float
) -> list[DrawnCurve]:
    # A frame's answer holds until the next frame's.
    seconds = np.append(timeline.seconds, end_seconds) / max(end_seconds, 1e-9)
    drawn = []
    for place, label in enumerate(shown):
        shares = np.append(timeline.probabilities[:, label], timeline.probabilities[-1, label])
        points = " ".join(
            f"{1000 * x:.1f},{200 * (1 - y):.1f}" for x, y in zip(seconds, shares, strict=True)
        )
        dash = DASHES[place % len(DASHES)]
        drawn.append(DrawnCurve(labels[label], COLOURS[place], dash, points))
    return drawn


def _write_thoughts(
    timeline: Timeline, classifier: Classifier, shown: Sequence[int], *, total: float
) -> Markup:
    """What the page's program reads: the labels that are shown, or the likeliest at some moment."""
    told = list(dict.fromkeys([*shown, *timeline.probabilities.argmax(axis=1).tolist()]))
    content = {
        "labels": [classifier.labels[place] for place in told],
        "known": _are_known(timeline, classifier.threshold),
        "seconds": np.round(timeline.seconds, 4).tolist(),
        "shares": [np.round(timeline.probabilities[:, place], 4).tolist() for place in told],
        "total": total,
    }
    return Markup(json.dumps(content).replace("<", "\\u003c"))


def _describe(stretches: Sequence[Segment]) -> str:
    told = [
        f"{s.label} from {s.start_seconds:.1f} to {s.end_seconds:.1f} seconds"
        for s in stretches[:6]
    ]
    more = f"; and {len(stretches) - 6} more stretches" if len(stretches) > 6 else ""
    return f"Class probabilities over time. Likeliest: {'; '.join(told)}{more}. A table follows."


def _find_source(
    answer: VideoAnswer, video: tuple[str, bytes] | None, page: Path | None
) -> tuple[str, str]:
    """The address of the video, or "" and why there is none."""
    if video is not None:
        kind, content = video
        return f"data:{kind};base64,{base64.b64encode(content).decode()}", ""
    if page is not None and answer.path.suffix.lower() in _PLAYED:
        relative = os.path.relpath(answer.path.absolute(), page.absolute().parent)
        return quote(Path(relative).as_posix()), ""
    return "", "The video is too large for this page, and of a kind that browsers do not play."
