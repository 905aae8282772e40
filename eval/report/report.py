"""The report: one HTML page that needs nothing beside it, and the same for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.pages import text
from eval.pages.rendering import render_page
from eval.predictions.predictions import BY_STEP
from eval.report.about import describe_subject
from eval.report.curves import read_curves
from eval.report.frames import Videos, make_strips
from eval.report.overlay import MOST_ROWS, draw_learning
from eval.report.pictures import draw_confusions, draw_curves, draw_intervals
from eval.scores import tables
from eval.scores.details import (
    ClassScore,
    ClipScore,
    ConfusedPair,
    best_clips,
    confusions,
    most_confused,
    score_classes,
    worst_clips,
)
from eval.scores.pairs import HEADERS as PAIR_HEADERS
from eval.scores.pairs import Pairs, make_pair_cells, score_pairs
from eval.scores.rows import Row, sort_rows
from eval.scores.scores import Score
from pipeline.files import write_text
from pipeline.tasks import CLASSIFICATION, LANGUAGE, REGRESSION

PAGE = "report.html"
MACHINE = "report.json"
NUM_RIGHT = 4
"""Clips answered rightly that are shown."""
_WORST_ARE = {
    CLASSIFICATION: "Of those answered wrongly the ones whose class got the lowest probability.",
    REGRESSION: "Those with the largest error.",
    BY_STEP: "Those with the fewest steps answered rightly.",
    LANGUAGE: "Those with the highest perplexity; the answer is this.",
}


@dataclass(frozen=True)
class Section:
    """What the page shows of one row below the table; pictures are SVG, "" where there is none."""

    row: Row
    classes: tuple[ClassScore, ...]
    pairs: tuple[ConfusedPair, ...]
    worst: tuple[ClipScore, ...]
    best: tuple[ClipScore, ...]
    confusion_picture: Markup
    curve_pictures: tuple[Markup, ...]

    @property
    def is_classification(self) -> bool:
        return bool(self.row.seeds) and self.row.seeds[0].kind == CLASSIFICATION

    @property
    def is_by_step(self) -> bool:
        return bool(self.row.seeds) and self.row.seeds[0].kind == BY_STEP

    @property
    def worst_title(self) -> str:
        """`10 clips answered wrongly`, or, of a regression, `The 10 clips farthest off`."""
        num = f"{len(self.worst)} {self.row.noun}"
        return f"{num} answered wrongly" if self.has_right_answers else f"The {num} farthest off"

    @property
    def has_right_answers(self) -> bool:
        return self.is_classification or self.is_by_step

    @property
    def worst_are(self) -> str:
        return _WORST_ARE[self.row.seeds[0].kind]


def write_report(
    out: Path,
    rows: Sequence[Row],
    *,
    part: str,
    notes: Sequence[str],
    videos: Videos,
    pairs: Pairs = (),
) -> Path:
    """Write report.html and report.json into `out`; the page's path.

    Clips of which there are `videos` are shown with some of their frames.
    """
    sections = make_sections(rows)
    wanted = {clip.id for section in sections for clip in (*section.worst, *section.best)}
    strips = make_strips(videos, sorted(wanted))
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / MACHINE, json.dumps(_describe(sections, part, notes, pairs), indent=1) + "\n")
    write_text(
        out / PAGE,
        _render(
            sections, part=part, notes=notes, strips=strips, why_none=videos.why_none, pairs=pairs
        ),
    )
    return out / PAGE


def make_sections(rows: Sequence[Row]) -> list[Section]:
    """A section for each row, in their order."""
    return [_make_section(row, f"row-{place}") for place, row in enumerate(rows, start=1)]


def _make_section(row: Row, name: str) -> Section:
    seeds = row.seeds
    is_classification = bool(seeds) and seeds[0].kind == CLASSIFICATION
    logs = [read_curves(result.folder) for result in row.results]
    curves = (
        draw_curves(logs, f"{name}-loss", loss=True),
        draw_curves(logs, f"{name}-scores", loss=False),
    )
    matrix = ""
    if is_classification:
        matrix = draw_confusions(confusions(seeds), seeds[0].labels, name=f"{name}-confusions")
    return Section(
        row=row,
        classes=score_classes(seeds) if is_classification else (),
        pairs=most_confused(seeds) if is_classification else (),
        worst=worst_clips(seeds) if seeds else (),
        best=best_clips(seeds, NUM_RIGHT) if is_classification else (),
        confusion_picture=Markup(matrix),
        curve_pictures=tuple(Markup(curve) for curve in curves if curve),
    )


def _render(
    sections: Sequence[Section],
    *,
    part: str,
    notes: Sequence[str],
    strips: Mapping[str, str],
    why_none: str,
    pairs: Pairs,
) -> str:
    rows = sort_rows([section.row for section in sections])
    places = {id(row): place for place, row in enumerate(rows)}
    sections = sorted(sections, key=lambda section: places[id(section.row)])
    scored = [(row.name, row.scores[0]) for row in rows if row.scores]
    return render_page(
        "report/report.html",
        title=_title(rows, part),
        part=part,
        pairs=pairs,
        pair_headers=PAIR_HEADERS,
        pair_lines=make_pair_cells(rows, pairs),
        about=describe_subject(rows, part),
        headers=tables.make_headers(rows),
        columns=tables.find_columns(rows),
        sections=sections,
        notes=notes,
        strips=strips,
        why_no_strips=why_none,
        intervals=Markup(draw_intervals(scored, "intervals")) if len(scored) > 1 else "",
        learning=Markup(draw_learning(rows, "learning")) if len(rows) > 1 else "",
        most_learning=MOST_ROWS,
        tables=tables,
        text=text,
        noun=tables.find_noun(rows),
        first_figure=len(tables.HEADERS) - tables.NUM_FIGURES,
    )


def _title(rows: Sequence[Row], part: str) -> str:
    what = rows[0].name if len(rows) == 1 else f"{len(rows)} nets compared"
    return f"{what}, {part} part"


def _describe(
    sections: Sequence[Section], part: str, notes: Sequence[str], pairs: Pairs
) -> dict[str, Any]:
    return {
        "format": "clip scores 1",
        "part": part,
        "notes": list(notes),
        "rows": [
            {**describe_row(section), **_describe_pairs(section.row, pairs)} for section in sections
        ],
    }


def _describe_pairs(row: Row, pairs: Pairs) -> dict[str, Any]:
    found = score_pairs(row.seeds, pairs) if row.seeds and pairs else None
    if found is None:
        return {}
    score, num = found
    return {"pairs": {"classes": pairs, "num_clips": num, **describe_score(score)}}


def describe_row(section: Section) -> dict[str, Any]:
    """What report.json says of a row."""
    row = section.row
    content: dict[str, Any] = {
        "name": row.name,
        "runs": [str(result.folder) for result in row.results],
        "seeds": [result.seed for result in row.results],
        "state": row.state or "scored",
        "settings": dict(row.results[0].settings),
        "num_parameters": row.num_parameters,
        "multiply_adds_per_step": row.multiply_adds,
        "train_seconds": row.train_seconds,
    }
    if not row.seeds:
        return content
    use = row.seeds[0].use
    return {
        **content,
        "frames": row.seeds[0].frames,
        "scores": {score.name: describe_score(score) for score in row.scores},
        "clips": {
            "num_listed": use.num_listed,
            "num_used": len(use.used),
            "missing": list(use.missing),
            "truncated": list(use.truncated),
            "damaged": list(use.damaged),
        },
        "classes": [asdict(c) for c in section.classes],
        "confused": [asdict(pair) for pair in section.pairs],
        "labels": list(row.seeds[0].labels),
        "confusions": confusions(row.seeds).tolist() if section.is_classification else None,
        "worst": [asdict(clip) for clip in section.worst],
    }


def describe_score(score: Score) -> dict[str, Any]:
    """What report.json says of a score."""
    return {
        "value": score.estimate.value,
        "low": score.estimate.low,
        "high": score.estimate.high,
        "floor": score.floor,
        "of_seeds": list(score.of_seeds),
        "spread": score.spread,
    }
