"""Which clips a trial takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipeline.clips import Clip


def spread(clips: Sequence[Clip], num: int) -> tuple[Clip, ...]:
    """`num` of the clips, in their order, spread over classes, and over the groups of a class.

    First one of every class, then one of another group of every class, and so on. A beginning of
    the list would be of one class, which nothing can be learned from.
    """
    groups: dict[str, list[str]] = {}
    taken: Counter[tuple[str, str]] = Counter()
    rounds = {}
    for clip in clips:
        known = groups.setdefault(clip.label, [])
        if clip.group not in known:
            known.append(clip.group)
        place = clip.label, clip.group
        rounds[clip.id] = taken[place], known.index(clip.group)
        taken[place] += 1
    chosen = {clip.id for clip in sorted(clips, key=lambda clip: rounds[clip.id])[:num]}
    return tuple(clip for clip in clips if clip.id in chosen)
