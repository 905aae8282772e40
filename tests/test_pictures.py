"""Pictures of pages: nothing in them is cut, and equal numbers give equal pictures."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from eval.pages.charts import draw_bars
from eval.report.pictures import draw_confusions, draw_heat_map, draw_intervals
from eval.scores.scores import Score
from pipeline.metrics import Estimate
from tests.browsing import Seen

TITLE = "scaled-irnn, validation: mean per-class accuracy of all seeds"


def find_clipped_marks(svg: str) -> list[str]:
    """The clip paths around marks (dots and bars, drawn with <use>) in a picture."""
    root = ElementTree.fromstring(re.sub(r"xlink:href", "href", svg))
    clipped = []
    for group in root.iter():
        holds_mark = any(child.tag.endswith("use") for child in group)
        if holds_mark and "clip-path" in group.attrib:
            clipped.append(group.attrib["clip-path"])
    return clipped


def test_the_search_for_clipped_marks_finds_one() -> None:
    assert find_clipped_marks('<svg><g clip-path="url(#a)"><use href="#b"/></g></svg>')
    assert not find_clipped_marks('<svg><g><use href="#b"/></g></svg>')


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_dot_at_the_end_of_the_scale_is_drawn_whole(value: float) -> None:
    score = Score("top-1 accuracy", Estimate(value, 0.0, 1.0), (value,), floor=value)
    intervals = draw_intervals([("a", score), ("b", score)], "intervals")
    bars = draw_bars({"a": {"x": [value, 0.5]}}, "bars", floor=0.2, axes_name="accuracy")
    assert intervals.count("<use") > 4
    assert find_clipped_marks(intervals) == []
    assert find_clipped_marks(bars) == []


def _draw_map(name: str, *, title: str) -> str:
    values = np.array([[0.5, 0.6], [0.7, np.nan]])
    return draw_heat_map(
        values, ["0.5", "0.7"], ["0.001", "0.01"], name=name, title=title,
        axes_names=("dropout", "learning rate"), limits=(0.0, 1.0), chosen=(1, 0),
    )  # fmt: skip


def find_cut_words(seen: Seen) -> list[str]:
    """The texts in a page's pictures that reach beyond the picture's edge, by over a pixel."""
    found: list[str] = seen.page.evaluate(
        """() => [...document.querySelectorAll("svg")].flatMap(svg => {
          const frame = svg.getBoundingClientRect();
          return [...svg.querySelectorAll("text")].filter(text => {
            const box = text.getBoundingClientRect();
            return box.left < frame.left - 1 || box.right > frame.right + 1
              || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
          }).map(text => text.textContent);
        })"""
    )
    return found


def _open(open_page: Callable[..., Seen], folder: Path, svg: str) -> Seen:
    path = folder / "picture.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{svg}")
    return open_page(path.as_uri())


def test_a_title_wider_than_its_heat_map_is_not_cut(
    open_page: Callable[..., Seen], tmp_path: Path
) -> None:
    seen = _open(open_page, tmp_path, _draw_map("long", title=TITLE))
    assert seen.page.locator("svg text", has_text=TITLE).count() == 1
    assert find_cut_words(seen) == []


def test_the_search_for_cut_words_finds_one(open_page: Callable[..., Seen], tmp_path: Path) -> None:
    svg = '<svg width="40" height="20"><text x="0" y="15">wider than this</text></svg>'
    assert find_cut_words(_open(open_page, tmp_path, svg)) == ["wider than this"]


def test_a_picture_of_equal_numbers_is_equal_byte_for_byte() -> None:
    counts, labels = np.diag([3, 2, 1]), ("a", "b", "c")
    first = draw_confusions(counts, labels, name="a")
    assert draw_confusions(counts, labels, name="a") == first
