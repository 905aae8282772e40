"""Splits: which clips are for training, validation and testing, with leaks refused."""

from __future__ import annotations

import csv
import difflib
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.clips import Clip, read_group

SPLITS_FOLDER = Path(__file__).resolve().parent.parent / "splits"
PARTS = ("train", "val", "test")
DRAW = "draw"
_DRAW_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


@dataclass(frozen=True)
class Split:
    """The clips a protocol lists for each part, present or not.

    Raises ValueError when a clip or a group stands in two parts: that is a leak.
    """

    name: str
    train: tuple[Clip, ...]
    val: tuple[Clip, ...]
    test: tuple[Clip, ...]

    def __post_init__(self) -> None:
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            self._refuse_shared(first, second, "clip", lambda clip: clip.id)
            self._refuse_shared(first, second, "group", lambda clip: clip.group)

    def _refuse_shared(self, first: str, second: str, what: str, key: Any) -> None:
        shared = {key(c) for c in self.part(first)} & {key(c) for c in self.part(second)} - {""}
        if shared:
            raise ValueError(
                f"Split {self.name} leaks: {len(shared)} {what}s stand in both {first} and "
                f"{second}: {_some(sorted(shared))}.\n"
                f"Keep every {what} in one part only."
            )

    def part(self, part: str) -> tuple[Clip, ...]:
        """The clips listed for `train`, `val` or `test`."""
        if part not in PARTS:
            raise ValueError(f"part: expected one of {', '.join(PARTS)}, found {part!r}")
        clips: tuple[Clip, ...] = getattr(self, part)
        return clips

    def restricted_to(self, labels: Iterable[str]) -> Split:
        """This split with only the clips of these classes."""
        keep = set(labels)
        parts = {p: tuple(c for c in self.part(p) if c.label in keep) for p in PARTS}
        return Split(self.name, **parts)


def read_split(name: str, clips: Sequence[Clip], *, seed: int = 0) -> Split:
    """The split called `name` of these clips.

    `name` is one of the protocols in `splits/` (`ucf101-split1`), the path of a file of that form,
    or `draw`: a seeded draw, 70 / 10 / 20 % of each class, that keeps every group together.
    A file names, for each part, either groups (`test: [g01, g02]`) or a list file of lines
    `<label>/<file>` (`test: testlist01.txt`, beside it). Where a `listed:` table of clips per class
    and group is given, the split lists those clips; otherwise the clips given here.
    """
    if name == DRAW:
        return draw_split(clips, seed=seed)
    path = _find_file(name)
    content = _read_yaml(path)
    listed = _read_listed(path.parent / content["listed"]) if "listed" in content else clips
    _refuse_foreign_classes(path, listed, clips)
    parts = {part: _read_part(path, part, content, listed) for part in PARTS}
    if not isinstance(content["val"], str):
        # UCF-101's official train lists hold the validation group too.
        in_val = {clip.id for clip in parts["val"]}
        if isinstance(content["train"], str):
            parts["train"] = tuple(c for c in parts["train"] if c.id not in in_val)
    return Split(path.stem, **parts)


def draw_split(clips: Sequence[Clip], *, seed: int) -> Split:
    """A split drawn with `seed`: of every class 70 % train, 10 % val, 20 % test, by groups.

    All clips of a group go to one part, also across classes. Shares hold as far as groups allow.
    """
    generator = random.Random(seed)
    part_of: dict[str, str] = {}
    by_label: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in sorted(clips):
        by_label[clip.label][clip.group or clip.id].append(clip)
    for label in sorted(by_label):
        sources = by_label[label]
        wanted = {p: s * sum(map(len, sources.values())) for p, s in _DRAW_SHARES.items()}
        for source, members in sources.items():
            if source in part_of:
                wanted[part_of[source]] -= len(members)
        new = [source for source in sources if source not in part_of]
        generator.shuffle(new)
        for source in new:
            part_of[source] = max(PARTS, key=lambda p: wanted[p])
            wanted[part_of[source]] -= len(sources[source])
    parts = {
        part: tuple(c for c in sorted(clips) if part_of[c.group or c.id] == part) for part in PARTS
    }
    return Split(f"{DRAW}-{seed}", **parts)


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _find_file(name: str) -> Path:
    known = SPLITS_FOLDER / f"{name}.yaml"
    if known.is_file():
        return known
    if Path(name).is_file():
        return Path(name)
    names = sorted(path.stem for path in SPLITS_FOLDER.glob("*.yaml"))
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(
        f"split={name}: expected {', '.join([*names, DRAW])} or the path of a split file, "
        f"found neither.{hint}"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a split file in YAML: {error}") from error
    keys = set(content) if isinstance(content, Mapping) else set()
    if not keys >= set(PARTS) or keys - {*PARTS, "listed"}:
        raise ValueError(
            f"{path}: expected the keys train, val, test and, if wanted, listed; "
            f"found {', '.join(map(str, keys)) or 'none'}."
        )
    return dict(content)


def _read_listed(path: Path) -> tuple[Clip, ...]:
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


def _refuse_foreign_classes(path: Path, listed: Sequence[Clip], clips: Sequence[Clip]) -> None:
    foreign = sorted({clip.label for clip in clips} - {clip.label for clip in listed})
    if foreign:
        raise ValueError(
            f"{path} does not list {len(foreign)} classes of these clips: {_some(foreign)}.\n"
            f"Use split={DRAW}, or a split file without `listed:`."
        )


def _read_part(
    path: Path, part: str, content: Mapping[str, Any], listed: Sequence[Clip]
) -> tuple[Clip, ...]:
    value = content[part]
    if isinstance(value, str):
        return _read_list_file(path.parent / value)
    if not isinstance(value, list) or not all(isinstance(group, str) for group in value):
        raise ValueError(
            f"{path}, {part}: expected a list of groups like [g08, g09] or the name of a list "
            f"file, found {value!r}."
        )
    return tuple(clip for clip in listed if clip.group in value)


def _read_list_file(path: Path) -> tuple[Clip, ...]:
    """The clips of an official list: a line is `<label>/<file>`, then perhaps a class number."""
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
