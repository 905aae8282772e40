"""Scores as text: the cells that page and terminal share, and aligned plain tables."""

from __future__ import annotations

from collections.abc import Sequence

from eval.pages.text import align, write_count, write_seconds
from eval.scores.rows import Row
from eval.scores.scores import Score

HEADERS = (
    "model", "score", "95 % interval", "floor", "seeds", "spread", "clips", "parameters",
    "multiply-adds a step", "training",
)  # fmt: skip
_TEXT = {"model", "95 % interval"}
NUM_FIGURES = 3
"""The last columns, which a row without a score has too."""


def is_number(header: str) -> bool:
    """Whether the cells under this header stand to the right."""
    return header not in _TEXT


def make_cells(row: Row) -> tuple[str, ...]:
    """The cells of a row under HEADERS; a row without a score says why instead."""
    figures = (
        write_count(row.num_parameters),
        write_count(row.multiply_adds),
        write_seconds(row.train_seconds),
    )
    if not row.scores:
        return (row.name, "none", row.state, "", "", "", "", *figures)
    first, use = row.scores[0], row.seeds[0].use
    clips = write_count(len(use.used))
    if len(use.used) < use.num_listed:
        clips += f" of {write_count(use.num_listed)}"
    return (
        row.name,
        write_value(first, first.estimate.value),
        write_interval(first),
        write_value(first, first.floor),
        str(len(row.seeds)),
        "" if first.spread is None else write_value(first, first.spread),
        clips,
        *figures,
    )


def make_headers(rows: Sequence[Row]) -> tuple[str, ...]:
    """HEADERS, with the name of the score that leads the table and what its sequences are called.

    Where the rows have unlike scores it stays `score`.
    """
    names = {row.scores[0].name for row in rows if row.scores}
    said = {"score": names.pop() if len(names) == 1 else "score", "clips": find_noun(rows)}
    return tuple(said.get(header, header) for header in HEADERS)


def find_noun(rows: Sequence[Row]) -> str:
    """`clips` where all rows are of clips, else `sequences`."""
    nouns = {row.noun for row in rows}
    return nouns.pop() if len(nouns) == 1 else "sequences"


def write_value(score: Score, value: float) -> str:
    return f"{value:.3f}" if score.is_share else f"{value:.4g}"


def write_interval(score: Score) -> str:
    low, high = (write_value(score, v) for v in (score.estimate.low, score.estimate.high))
    return f"[{low}, {high}]"


def find_columns(rows: Sequence[Row]) -> tuple[int, ...]:
    """The places of the columns in which some row has something to say."""
    cells = [make_cells(row) for row in rows]
    return tuple(
        place for place in range(len(HEADERS)) if place < 3 or any(line[place] for line in cells)
    )


def format_table(rows: Sequence[Row]) -> str:
    """One line a row, with a line of headers; rows without a score follow and say why."""
    headers = make_headers(rows)
    scored = [make_cells(row) for row in rows if row.scores]
    columns = find_columns(rows)
    table = [[line[place] for place in columns] for line in (headers, *scored)]
    lines = align(table, [is_number(HEADERS[place]) for place in columns]) if scored else []
    lines += [f"{row.name}: no score, {row.state}" for row in rows if not row.scores]
    return "\n".join(lines)


def format_scores(row: Row) -> str:
    """Every score of one row with its interval, spread over seeds and floor."""
    table = [["score", "value", "95 % interval", "floor", "spread"]]
    table += [
        [
            score.name,
            write_value(score, score.estimate.value),
            write_interval(score),
            write_value(score, score.floor),
            "" if score.spread is None else write_value(score, score.spread),
        ]
        for score in row.scores
    ]
    if len(row.seeds) == 1:
        table = [line[:-1] for line in table]
    use = row.seeds[0].use
    counts = (
        f"{row.noun}: {use.num_listed:,} listed, {len(use.used):,} used, {len(use.missing):,} "
        f"missing; of the used {len(use.truncated):,} truncated, {len(use.damaged):,} damaged"
    )
    return "\n".join([*align(table, [False, True, False, True, True]), counts])
