"""Answers to videos as text: a table for people, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from eval.pages.text import align, show_path
from eval.predictions.unknown import NONE, with_nearest
from eval.videos.decoding import VideoFailure
from eval.videos.videos import Classifier, VideoAnswer

FORMATS = ("table", "csv", "json")


def format_answer(answer: VideoAnswer, labels: Sequence[str], *, top: int) -> str:
    """A heading and a line for each of the top labels, or for each segment.

    Where none of the labels is the answer, a line before them says so.
    """
    heading = f"{show_path(answer.path)}  ({answer.num_frames:,} frames, {answer.seconds:.1f} s)"
    lines = [heading, *(f"  note: {note}" for note in answer.notes)]
    if not answer.is_known:
        lines.append(f"  {answer.answer}; the nearest:")
    table = [["label", "probability"]]
    table += [[labels[p], f"{answer.probabilities[p]:.3f}"] for p in answer.top(top)]
    lines += [f"  {line}" for line in align(table, [False, True])]
    if answer.segments:
        table = [["start", "end", "label", "probability"]]
        table += [
            [
                f"{s.start_seconds:.1f} s",
                f"{s.end_seconds:.1f} s",
                with_nearest(s.label, s.nearest, known=s.is_known),
                f"{s.probability:.3f}",
            ]
            for s in answer.segments
        ]
        lines += ["", *(f"  {line}" for line in align(table, [True, True, False, True]))]
    return "\n".join(lines)


def format_csv(answers: Sequence[VideoAnswer], labels: Sequence[str], *, top: int) -> str:
    """Rows video, rank, label, probability; of answers with segments, a row for each of these.

    NONE has a row too, the first of its video, without a probability; a segment's is that of the
    label in the column `nearest`.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    with_segments = any(answer.segments for answer in answers)
    if with_segments:
        writer.writerow(
            ["video", "start_seconds", "end_seconds", "label", "probability", "nearest"]
        )
    else:
        writer.writerow(["video", "rank", "label", "probability"])
    for answer in answers:
        name = show_path(answer.path)
        if with_segments:
            writer.writerows(
                [name, f"{s.start_seconds:.3f}", f"{s.end_seconds:.3f}", s.label,
                 f"{s.probability:.6f}", s.nearest]
                for s in answer.segments
            )  # fmt: skip
        else:
            rows = [(labels[p], f"{answer.probabilities[p]:.6f}") for p in answer.top(top)]
            rows = rows if answer.is_known else [(NONE, ""), *rows]
            writer.writerows([name, rank, *row] for rank, row in enumerate(rows, start=1))
    return text.getvalue()


def format_json(
    answers: Sequence[VideoAnswer],
    failures: Sequence[VideoFailure],
    classifier: Classifier,
    *,
    top: int,
) -> str:
    calibration = classifier.calibration
    content = {
        "format": "videos 1",
        "run": str(classifier.run.folder),
        "calibration": {
            "temperature": calibration.temperature,
            "num_clips": calibration.num_clips,
            "reason": calibration.reason,
        },
        "threshold": classifier.threshold,
        "videos": [_describe(answer, classifier.labels, top=top) for answer in answers],
        "failed": [{"video": show_path(f.path), "reason": f.reason} for f in failures],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)


def _describe(answer: VideoAnswer, labels: Sequence[str], *, top: int) -> dict[str, Any]:
    return {
        "video": show_path(answer.path),
        "num_frames": answer.num_frames,
        "fps": round(answer.fps, 6),
        "seconds": round(answer.seconds, 6),
        "notes": list(answer.notes),
        "label": answer.answer,
        "is_known": answer.is_known,
        "top": [
            {"label": labels[p], "probability": float(answer.probabilities[p])}
            for p in answer.top(top)
        ],
        "segments": [vars(segment) for segment in answer.segments],
        "milliseconds_a_frame": {
            name: round(value, 4) for name, value in vars(answer.stages).items()
            if math.isfinite(value)
        },
    }  # fmt: skip
