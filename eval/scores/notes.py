"""What a reader of a table must know beside its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from eval.predictions.frames import ALL, NOTES
from eval.predictions.predictions import is_same_test
from eval.scores.rows import Row
from eval.scores.scores import score_floors
from pipeline.tasks import CLASSIFICATION, LANGUAGE


def find_notes(rows: Sequence[Row], part: str) -> tuple[str, ...]:
    """What a reader of the table must know: other frames or clips, missing, truncated ones."""
    scored = [row for row in rows if row.seeds]
    notes = [note for row in scored for note in _notes_on_clips(row, part)]
    unlike = [row for row in scored if not is_same_test(scored[0].seeds[0], row.seeds[0])]
    if unlike:
        names = ", ".join(f"{row.name} ({_count(row)})" for row in unlike)
        notes.append(
            f"NOT COMPARABLE: {names} answered other {scored[0].noun} or classes than "
            f"{scored[0].name} ({_count(scored[0])}); differences between their scores say nothing."
        )
    return tuple(dict.fromkeys(notes))


def _count(row: Row) -> str:
    return f"{len(row.seeds[0].ids):,} {row.noun}"


def _notes_on_clips(row: Row, part: str) -> list[str]:
    use, frames = row.seeds[0].use, row.seeds[0].frames
    notes = [] if frames == ALL else [f"Frames {frames}: {NOTES[frames]}"]
    if use.missing:
        some = ", ".join(use.missing[:3]) + (" ..." if len(use.missing) > 3 else "")
        notes.append(
            f"{len(use.missing)} of the {use.num_listed} {row.noun} of the {part} part are "
            f"missing, so the scores are over {len(use.used)}: {some}"
        )
    if use.truncated:
        notes.append(f"{len(use.truncated)} of the {row.noun} used are truncated.")
    if use.damaged:
        notes.append(f"{len(use.damaged)} of the {row.noun} used are damaged.")
    find = {CLASSIFICATION: _notes_on_classes, LANGUAGE: _notes_on_tokens}.get(row.seeds[0].kind)
    return notes + ([] if find is None else find(row))


def _notes_on_tokens(row: Row) -> list[str]:
    """What was predicted, and what counting reaches: what a reader of a perplexity needs."""
    first = row.seeds[0]
    num, unknown = (int(total) for total in first.targets.sum(axis=0, dtype=float))
    floors = zip(first.floors, score_floors(first), strict=True)
    told = ", ".join(f"{name} {floor:.4g}" for name, floor in floors)
    return [
        f"{num:,} {first.unit}s predicted, ends of lines among them; {unknown:,} are <unk>. "
        f"By counting: {told}."
    ]


def _notes_on_classes(row: Row) -> list[str]:
    predictions, notes = row.seeds[0], []
    num_classes = len(set(predictions.targets.tolist()))
    if num_classes < len(predictions.labels):
        notes.append(f"{num_classes} of {len(predictions.labels)} classes have {row.noun} here.")
    return notes
