"""A trial takes clips of every class, and of several groups."""

from __future__ import annotations

from collections import Counter

import pytest

from extract.limit import spread
from pipeline.clips import Clip

CLIPS = tuple(
    Clip(f"v_{label}_{group}_c{number}", label, group, f"{label}/{group}_{number}.avi")
    for label in ("bow", "climb", "dive")
    for group in ("g01", "g02", "g03")
    for number in (1, 2)
)


@pytest.mark.parametrize("num", [1, 2, 3, 5, 7, 12, 17])
def test_classes_and_then_groups_of_a_trial_differ_by_one_clip_at_most(num: int) -> None:
    chosen = spread(CLIPS, num)
    assert len(chosen) == num
    counts = Counter(clip.label for clip in chosen)
    assert max(counts.values()) - min(counts[label] for label in ("bow", "climb", "dive")) <= 1
    for label in counts:
        of_groups = Counter(clip.group for clip in chosen if clip.label == label)
        least = min(of_groups[group] for group in ("g01", "g02", "g03"))
        assert max(of_groups.values()) - least <= 1


def test_a_trial_keeps_the_order_and_a_larger_one_holds_the_smaller() -> None:
    for num in range(len(CLIPS) + 3):
        chosen = spread(CLIPS, num)
        assert [clip for clip in CLIPS if clip in chosen] == list(chosen)
        assert set(chosen) <= set(spread(CLIPS, num + 1))
    assert spread(CLIPS, 100) == CLIPS


def test_clips_without_groups_are_spread_over_classes() -> None:
    clips = [Clip(f"{label}{i}", label, "", f"{label}/{i}.avi") for label in "ab" for i in range(4)]
    assert [clip.id for clip in spread(clips, 4)] == ["a0", "a1", "b0", "b1"]
