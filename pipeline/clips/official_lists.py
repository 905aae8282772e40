"""Clips as the lists of UCF-101 and HMDB-51 name them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.clips.clip import Clip, read_group

_HMDB51_LIST = re.compile(r"(?P<label>.+)_test_(?P<name>split\d+)")
_HMDB51_PARTS = {"0": "", "1": "train", "2": "test"}


def read_table(path: Path) -> tuple[Clip, ...]:
    """The clips of a table with a row per class (label, name in files) and a column per group."""
    with path.open(newline="") as file:
        return tuple(
            Clip(clip_id := f"v_{row['name']}_{group}_c{number:02d}", row["label"], group,
                 f"{row['label']}/{clip_id}.avi")
            for row in csv.DictReader(file)
            for group, count in row.items()
            if group not in ("label", "name")
            for number in range(1, int(count) + 1)
        )  # fmt: skip


def read_list_file(path: Path) -> tuple[Clip, ...]:
    """The clips of one of UCF-101's lists: a line is `<label>/<file>`, then perhaps a number."""
    if not path.is_file():
        raise ValueError(f"{path}: expected a list of clips, found no such file.")
    clips = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        label, slash, name = line.split()[0].partition("/")
        if not slash:
            raise ValueError(f"{path}, line {number}: expected <label>/<file>, found {line!r}.")
        stem = Path(name).stem
        clips.append(Clip(stem, label, read_group(stem), f"{label}/{name}"))
    return tuple(clips)


def find_hmdb51_lists(folder: Path) -> tuple[str, ...]:
    """The names of HMDB-51's splits whose lists lie in this folder: split1, split2, split3."""
    matches = (_HMDB51_LIST.fullmatch(path.stem) for path in folder.glob("*_test_split*.txt"))
    return tuple(sorted({match["name"] for match in matches if match}))


def read_hmdb51_lists(folder: Path, name: str) -> Mapping[str, tuple[Clip, ...]]:
    """The clips for `train` and `test` of HMDB-51's split `name`, `<label>_test_<name>.txt` each.

    A line is `<file> <part>`, part 1 train, 2 test, 0 neither. The group is the source with the
    class. One that these lists put into both parts counts as none: the protocol is theirs.
    """
    parts: dict[str, list[Clip]] = {"train": [], "test": []}
    for path in sorted(folder.glob(f"*_test_{name}.txt")):
        label = path.stem.removesuffix(f"_test_{name}")
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            file, _, mark = line.strip().rpartition(" ")
            if not file or mark not in _HMDB51_PARTS:
                if not line.strip():
                    continue
                raise ValueError(f"{path}, line {number}: expected <file> 0|1|2, found {line!r}.")
            if part := _HMDB51_PARTS[mark]:
                stem = Path(file.strip()).stem
                clip = Clip(stem, label, read_group(stem), f"{label}/{file.strip()}")
                parts[part].append(clip)
    in_both = {clip.group for clip in parts["train"]} & {clip.group for clip in parts["test"]}
    return {part: tuple(_without(in_both, c) for c in clips) for part, clips in parts.items()}


def _without(groups: set[str], clip: Clip) -> Clip:
    return Clip(clip.id, clip.label, "", clip.path) if clip.group in groups else clip
