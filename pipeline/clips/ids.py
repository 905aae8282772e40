"""The ids of clips: a file's stem, with the folders above it where several files have that stem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

_SEPARATOR = ":"


def make_ids(paths: Iterable[str]) -> Mapping[str, str]:
    """The id of each path: `clip` of a/clip.avi, or `a:clip` where b/clip.avi is there too.

    With the ending, `a:clip.avi`, where a/clip.mp4 is there too. Of paths that do not repeat, an id
    says the whole path, so that further files never change it.
    """
    left = sorted(set(paths))
    ids: dict[str, str] = {}
    for name in (_name_stem, _name_without_ending, _name_path):
        counts = Counter(map(name, left))
        ids |= {path: name(path) for path in left if counts[name(path)] == 1}
        left = [path for path in left if path not in ids]
    return ids | {path: _name_path(path) for path in left}


def _name_stem(path: str) -> str:
    return PurePosixPath(path).stem


def _name_without_ending(path: str) -> str:
    return _join(PurePosixPath(path).with_suffix(""))


def _name_path(path: str) -> str:
    return _join(PurePosixPath(path))


def _join(path: PurePosixPath) -> str:
    return _SEPARATOR.join(part for part in path.parts if part not in ("/", ".."))
