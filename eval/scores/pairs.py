"""How well a net tells the two classes of a pair apart, whatever it thinks of the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eval.pages.text import align
from eval.predictions.predictions import Predictions
from eval.scores.rows import Row
from eval.scores.scores import Score
from eval.scores.tables import write_interval, write_value
from pipeline import metrics
from pipeline.choices import check_choice

Pairs = tuple[tuple[str, str], ...]
HEADERS = ("model", "pair accuracy", "95 % interval", "floor", "clips")


def parse_pairs(words: Sequence[str]) -> Pairs:
    """`Grows/Shrinks` to two classes; ValueError for what does not name two unlike ones."""
    pairs = tuple(tuple(word.split("/")) for word in words)
    for word, pair in zip(words, pairs, strict=True):
        if len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
            raise ValueError(
                f"--pairs: expected two classes such as Grows/Shrinks, found {word!r}."
            )
    named = [label for pair in pairs for label in pair]
    if twice := [label for label in named if named.count(label) > 1]:
        raise ValueError(f"--pairs: expected each class in one pair, found {twice[0]} in several.")
    return tuple((pair[0], pair[1]) for pair in pairs)


def check_pairs(pairs: Pairs, labels: Sequence[str]) -> None:
    """Raises ValueError for a pair of which one is no class."""
    for label in (label for pair in pairs for label in pair):
        check_choice("class of --pairs", label, labels)


def score_pairs(seeds: Sequence[Predictions], pairs: Pairs) -> tuple[Score, int] | None:
    """The share of the clips of the pairs with a larger output for their class than for its twin.

    Beside it the number of these clips; None without any. A group is one source of evidence for
    both classes: its clips look alike. The floor is that of always the commoner class of a pair.
    """
    first = seeds[0]
    twin_of = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    labels = [first.labels[target] for target in first.targets]
    places = np.array([i for i, label in enumerate(labels) if label in twin_of], dtype=np.int64)
    if not len(places):
        return None
    own = first.targets[places]
    twins = np.array([first.labels.index(twin_of[labels[place]]) for place in places])
    hits = np.stack([p.outputs[places, own] > p.outputs[places, twins] for p in seeds])  # (S, N)
    groups = [first.sources[place].rpartition("/")[2] for place in places]
    counted = [labels[place] for place in places]
    floor = sum(max(counted.count(a), counted.count(b)) for a, b in pairs) / len(places)
    of_seeds = tuple(float(share) for share in hits.mean(axis=1))
    estimate = metrics.estimate_share(hits, groups)
    return Score("pair accuracy", estimate, of_seeds, floor), len(places)


def make_pair_cells(rows: Sequence[Row], pairs: Pairs) -> list[tuple[str, ...]]:
    """A line under HEADERS for each row that answered clips of the pairs."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        found = score_pairs(row.seeds, pairs) if row.seeds and pairs else None
        if found is not None:
            score, num = found
            lines.append(
                (
                    row.name,
                    write_value(score, score.estimate.value),
                    write_interval(score),
                    write_value(score, score.floor),
                    str(num),
                )
            )
    return lines


def format_pairs(rows: Sequence[Row], pairs: Pairs) -> str:
    """The table of `make_pair_cells` as text; "" without a line."""
    lines = make_pair_cells(rows, pairs)
    if not lines:
        return ""
    return "\n".join(align([HEADERS, *lines], [False, True, False, True, True]))
