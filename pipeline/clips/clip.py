"""Clips: what they are, and how they are found in a folder of videos or a list of them."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.clips.ids import make_ids
from pipeline.console import is_showable, show_name
from pipeline.files import name_special, replacing

# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
    ".mts", ".ogv", ".ts", ".webm", ".wmv",
})
# fmt: on
PARTS = ("train", "val", "test")
_COLUMNS = ("path", "label", "group", "split")
# v_HandStandPushups_g08_c01 lies in the folder HandstandPushups: the name inside is not the label.
_UCF101_NAME = re.compile(r"v_(?P<name>.+)_(?P<group>g\d{2})_c\d{2}")
# April_09_brush_hair_u_nm_np1_ba_goo_0: a source, the class, five tags, a number.
_HMDB51_NAME = re.compile(r"(?P<group>.+)_[fulh]_[cn]m_np\d+_(ba|fr|le|ri)_(bad|med|goo)_\d+")
_PART_OF_A_SOURCE = re.compile(r"(?P<source>.+)[_-](c|clip|part|seg)\d+", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Clip:
    """One labelled video file.

    `path` is relative to the folder of videos, with `/`. `group` names what clips filmed together
    share (UCF-101's `g08`, or the source in `talk_part2.mp4`); "" where none is known.
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
    """Clips in the order of their paths, or of their list, and the files that cannot be clips."""

    folder: Path
    """What the clips' paths are relative to."""
    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...]
    num_ignored: int
    """Files whose ending is not that of a video."""


def read_group(stem: str) -> str:
    """The group that a clip's name shows: `g08` of v_Punch_g08_c01, `talk` of talk_part2, or "".

    Of an HMDB-51 name the source with the class: `April_09_brush_hair`.
    """
    for pattern in (_UCF101_NAME, _HMDB51_NAME):
        if match := pattern.fullmatch(stem):
            return match["group"]
    if match := _PART_OF_A_SOURCE.fullmatch(stem):
        return match["source"]
    return ""


def find_clips(videos: Path) -> FoundClips:
    """The clips of a folder-per-class tree, `videos/<label>/.../<id>.<video ending>`, or of a list.

    A list is a CSV file, as `read_clip_list` reads it. Clips that share a stem have their folders
    in their ids, as `make_ids` says. Left out, each with a Problem, are clips that come to one id
    all the same, what is no regular file, and names with control characters. In a tree, hidden
    files and folders are passed over.
    Raises ValueError where there is nothing to extract.
    """
    if is_clip_list(videos):
        listed = [clip for clip, _ in read_clip_list(videos)]
        return refuse_unfit(videos.parent, listed, num_ignored=0)
    if not videos.is_dir():
        raise ValueError(
            f"--videos {videos}: expected a folder of videos or a CSV list of them, found "
            f"{_kind(videos)}."
        )
    files = list_files(videos)
    paths = [path for path in files if Path(path).suffix.lower() in VIDEO_SUFFIXES]
    _refuse_no_dataset(videos, files, paths)
    return refuse_unfit(videos, _make_clips(paths), num_ignored=len(files) - len(paths))


def is_clip_list(path: Path) -> bool:
    """Whether this is a list of clips rather than a folder of them."""
    return path.suffix.lower() == ".csv" and path.is_file()


def read_clip_list(path: Path) -> tuple[tuple[Clip, str], ...]:
    """The clips of a CSV file `path,label[,group][,split]`, each with its part, or "" for none.

    Paths are relative to the file's folder. Without a column `group`, groups are read from names.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            rows = list(reader)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: expected a CSV file in UTF-8: {error}.") from error
    columns = list(reader.fieldnames or ())
    if not rows or not {"path", "label"} <= set(columns) <= {*_COLUMNS}:
        found = f"{','.join(columns)!r} and {len(rows)} rows" if columns else "nothing"
        raise ValueError(
            f"{path}: expected a first line `path,label`, `path,label,group`, `path,label,split` "
            f"or `path,label,group,split` and a row per clip, found {found}."
        )
    listed = [_read_row(path, number, row) for number, row in enumerate(rows, start=2)]
    _refuse_repeats(path, [clip for clip, _ in listed])
    clips = tell_apart([clip for clip, _ in listed])
    return tuple(zip(clips, (part for _, part in listed), strict=True))


def write_clip_list(path: Path, listed: Iterable[tuple[Clip, str]]) -> None:
    """Write what `read_clip_list` reads, whole or not at all."""
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows((clip.path, clip.label, clip.group, name) for clip, name in listed)


def _read_row(path: Path, number: int, row: Mapping[str, str | None]) -> tuple[Clip, str]:
    cells = {name: value.strip() for name, value in row.items() if isinstance(value, str)}
    name, label, part = cells.get("path", ""), cells.get("label", ""), cells.get("split", "")
    if len(cells) != len(row) or not name or not label or part not in ("", *PARTS):
        raise ValueError(
            f"{path}, row {number}: expected {','.join(map(str, row))} with a path, a label and, "
            f"in a column split, one of {', '.join(PARTS)} or nothing; found "
            f"{','.join(str(value) for value in row.values())!r}."
        )
    stem = Path(name).stem
    return Clip(stem, label, cells.get("group", read_group(stem)), Path(name).as_posix()), part


def _refuse_repeats(path: Path, clips: Sequence[Clip]) -> None:
    counts = Counter(clip.path for clip in clips)
    repeated = [name for name, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(f"{path}: {len(repeated)} paths stand in it twice, such as {repeated[0]}.")


def _refuse_no_dataset(folder: Path, files: Sequence[str], videos: Sequence[str]) -> None:
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


def _kind(path: Path) -> str:
    return "a file" if path.exists() else "nothing there"


def list_files(folder: Path) -> list[str]:
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


def _make_clips(paths: Sequence[str]) -> list[Clip]:
    ids = make_ids(paths)
    return [
        Clip(ids[path], path.split("/", maxsplit=1)[0], read_group(Path(path).stem), path)
        for path in paths
    ]


def tell_apart(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """These clips under the ids that `make_ids` gives their paths."""
    ids = make_ids(clip.path for clip in clips)
    return tuple(replace(clip, id=ids[clip.path]) for clip in clips)


def keep_ids(clips: Iterable[Clip], known: Sequence[Clip]) -> tuple[Clip, ...]:
    """These clips, each under the id that the one clip of `known` with its path has, if one has.

    A file of the same stem that came later would change what `make_ids` says of a clip in a store.
    """
    counts = Counter(clip.path for clip in known)
    id_of = {clip.path: clip.id for clip in known if counts[clip.path] == 1}
    return tuple(replace(clip, id=id_of.get(clip.path, clip.id)) for clip in clips)


def refuse_unfit(folder: Path, clips: Sequence[Clip], *, num_ignored: int) -> FoundClips:
    """The clips that can be read and shown, and problems that name the others."""
    reasons = {clip: reason for clip in clips if (reason := _find_unfit(folder, clip))}
    fit, shared = _refuse_shared_ids(clip for clip in clips if clip not in reasons)
    unfit = tuple(
        Problem(show_name(clip.path), show_name(clip.id), show_name(clip.label), reason)
        for clip, reason in reasons.items()
    )
    return FoundClips(folder, fit, (*unfit, *shared), num_ignored)


def _find_unfit(folder: Path, clip: Clip) -> str:
    """Why a clip cannot be taken, before it is opened; "" where nothing speaks against it."""
    if not all(map(is_showable, (clip.path, clip.label, clip.group))):
        return "its name holds control characters, or bytes that are no UTF-8: rename it"
    kind = name_special(folder / clip.path)
    return kind and f"it is {kind}, no regular file"


def _refuse_shared_ids(clips: Iterable[Clip]) -> tuple[tuple[Clip, ...], tuple[Problem, ...]]:
    by_id: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_id[clip.id].append(clip)
    unique = tuple(same[0] for same in by_id.values() if len(same) == 1)
    problems = tuple(
        Problem(
            clip.path, clip.id, clip.label, f"shares its id {clip.id} with {_others(clip, same)}"
        )
        for same in by_id.values()
        if len(same) > 1
        for clip in same
    )
    return unique, problems


def _others(clip: Clip, same: list[Clip]) -> str:
    return ", ".join(other.path for other in same if other is not clip)
