"""Clips: what they are, and how they are found in a folder of videos."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".ogv", ".ts", ".webm", ".wmv",
})
# fmt: on
# v_HandStandPushups_g08_c01 lies in the folder HandstandPushups: the name inside is not the label.
_UCF101_NAME = re.compile(r"v_(?P<name>.+)_(?P<group>g\d{2})_c\d{2}")
_PART_OF_A_SOURCE = re.compile(r"(?P<source>.+)[_-](c|clip|part|seg)\d+", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Clip:
    """One labelled video file.

    `path` is relative to the folder of videos, with `/`. `group` names what clips filmed together
    share (UCF-101's `g08`, or the source in `talk_part2.mp4`); "" where the name shows none.
    """

    id: str
    label: str
    group: str
    path: str

    def __post_init__(self) -> None:
        if not self.id or "/" in self.id or self.id == ".":
            raise ValueError(f"Clip.id: expected a file's stem, found {self.id!r}")
        if not self.label:
            raise ValueError(f"Clip.label of {self.id}: expected a class, found an empty name")


@dataclass(frozen=True)
class Problem:
    """A video that gave no features, or fewer than it should have, and why."""

    path: str
    id: str
    label: str
    reason: str


@dataclass(frozen=True)
class FoundClips:
    """The clips of a folder in the order of their paths, and the files that cannot be clips."""

    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...]
    num_ignored: int
    """Files whose ending is not that of a video."""


def read_group(stem: str) -> str:
    """The group that a clip's name shows: `g08` of v_Punch_g08_c01, `talk` of talk_part2, or ""."""
    if match := _UCF101_NAME.fullmatch(stem):
        return match["group"]
    if match := _PART_OF_A_SOURCE.fullmatch(stem):
        return match["source"]
    return ""


def find_clips(folder: Path) -> FoundClips:
    """The clips of a folder-per-class tree: `folder/<label>/.../<id>.<video ending>`.

    Files that share a stem are all left out, each with a Problem: an id names one clip.
    Hidden files and folders are passed over. Raises ValueError where there is nothing to extract.
    """
    if not folder.is_dir():
        raise ValueError(f"--videos {folder}: expected a folder of videos, found {_kind(folder)}.")
    files = _list_files(folder)
    videos = [path for path in files if Path(path).suffix.lower() in VIDEO_SUFFIXES]
    if not videos:
        what = f"{len(files)} files, none of them a video" if files else "an empty folder"
        endings = " ".join(sorted(VIDEO_SUFFIXES))
        raise ValueError(
            f"{folder}: expected videos ({endings}) in one folder per class, found {what}.\n"
            f"Point --videos at the folder that holds the class folders."
        )
    loose = [path for path in videos if "/" not in path]
    if loose:
        raise ValueError(
            f"{folder}: expected one folder per class, found {len(loose)} videos outside of any, "
            f"such as {loose[0]}.\n"
            f"Move each into a folder named after its class, or point --videos one folder higher."
        )
    clips, problems = _refuse_shared_ids(_make_clip(path) for path in videos)
    return FoundClips(clips, problems, num_ignored=len(files) - len(videos))


def _kind(path: Path) -> str:
    return "a file" if path.exists() else "nothing there"


def _list_files(folder: Path) -> list[str]:
    """Paths of all files below `folder`, relative to it, sorted; links to folders are followed.

    A link that leads back to a folder above itself is not followed again.
    """
    found = []
    for here, folders, files in os.walk(folder, followlinks=True):
        parents = {Path(here).resolve(), *Path(here).resolve().parents}
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and not ((link := Path(here, name)).is_symlink() and link.resolve() in parents)
        ]
        found += [Path(here, name) for name in files if not name.startswith(".")]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _make_clip(path: str) -> Clip:
    stem = Path(path).stem
    return Clip(id=stem, label=path.split("/", maxsplit=1)[0], group=read_group(stem), path=path)


def _refuse_shared_ids(clips: Iterable[Clip]) -> tuple[tuple[Clip, ...], tuple[Problem, ...]]:
    by_id: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_id[clip.id].append(clip)
    unique = tuple(same[0] for same in by_id.values() if len(same) == 1)
    problems = tuple(
        Problem(clip.path, clip.id, clip.label, f"shares its name with {_others(clip, same)}")
        for same in by_id.values()
        if len(same) > 1
        for clip in same
    )
    return unique, problems


def _others(clip: Clip, same: list[Clip]) -> str:
    return ", ".join(other.path for other in same if other is not clip)
