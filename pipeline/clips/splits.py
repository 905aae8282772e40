"""Splits: which clips are for training, validation and testing, with leaks refused."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from pipeline.choices import suggest
from pipeline.clips.clip import (
    PARTS,
    Clip,
    is_clip_list,
    keep_ids,
    read_clip_list,
    tell_apart,
    write_clip_list,
)
from pipeline.clips.official_lists import (
    find_hmdb51_lists,
    read_hmdb51_lists,
    read_list_file,
    read_table,
)

SPLITS_FOLDER = Path(__file__).resolve().parent.parent.parent / "splits"
DRAW = "draw"
_DRAW_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
_SHARES_WITHOUT_TEST = {"train": 0.9, "val": 0.1}


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


def read_split(
    name: str, clips: Sequence[Clip], *, seed: int = 0, store: Path | None = None
) -> Split:
    """The split called `name` of these clips.

    `name` is one of:
    - a protocol in `splits/` (`ucf101-split1`), or the path of a file of that form: it names, for
      each part, either groups (`test: [g01, g02]`) or a list file of lines `<label>/<file>`
      (`test: testlist01.txt`, beside it). Where a `listed:` table of clips per class and group is
      given, the split lists those clips; otherwise the clips given here.
    - the path of a list of clips with a column `split` (`clips.csv`).
    - `<folder of HMDB-51's lists>/split1`.
    - `draw`: a seeded draw, 70 / 10 / 20 % of each class, that keeps every group together. In the
      folder `store` it is written down as `split-draw-<seed>.csv`, and there it is found again:
      clips that came later join it, and none changes its part.
    Where clips.csv or HMDB-51 names no clip for validation, a tenth of train is drawn with `seed`.
    """
    path = Path(name)
    if name == DRAW:
        return draw_split(clips, seed=seed) if store is None else _keep_draw(store, clips, seed)
    if is_clip_list(path):
        return _with_validation(_read_marked_list(path, clips), seed)
    if lists := find_hmdb51_lists(path if path.is_dir() else path.parent):
        return _with_validation(_read_hmdb51(path, lists, clips), seed)
    return _read_protocol(_find_file(name), clips)


def is_split_file(name: str) -> bool:
    """Whether a split's name is a path: neither `draw` nor one of `splits/`."""
    return name != DRAW and not (SPLITS_FOLDER / f"{name}.yaml").is_file()


def digest_split(path: str) -> str:
    """16 hex digits of the bytes of a split file, and of the lists that it names."""
    digest = hashlib.blake2b(digest_size=8)
    for file in _list_split_files(Path(path)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _list_split_files(path: Path) -> list[Path]:
    if find_hmdb51_lists(path.parent):
        return sorted(path.parent.glob(f"*_test_{path.name}.txt"))
    if is_clip_list(path):
        return [path]
    content = _read_yaml(path)
    named = [content.get(key) for key in ("listed", *PARTS)]
    return [path, *(path.parent / name for name in named if isinstance(name, str))]


def draw_split(clips: Sequence[Clip], *, seed: int, before: Split | None = None) -> Split:
    """A split drawn with `seed`: of every class 70 % train, 10 % val, 20 % test, by groups.

    All clips of a group go to one part, also across classes. Shares hold as far as groups allow.
    The clips of `before` are listed too, in the part they have there, and so are their groups.
    """
    parts = {part: before.part(part) for part in PARTS} if before else {}
    part_of = {_source(clip): part for part, listed in parts.items() for clip in listed}
    by_id = {clip.id: clip for listed in parts.values() for clip in listed}
    everything = sorted({**by_id, **{clip.id: clip for clip in clips}}.values())
    return Split(f"{DRAW}-{seed}", **_draw_parts(everything, _DRAW_SHARES, seed, part_of))


def _draw_parts(
    clips: Sequence[Clip], shares: Mapping[str, float], seed: int, part_of: Mapping[str, str]
) -> dict[str, tuple[Clip, ...]]:
    """The clips of each part, by shares of each class; `part_of` says where some sources are."""
    generator = random.Random(seed)
    part_of = dict(part_of)
    by_label: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
    for clip in sorted(clips):
        by_label[clip.label][_source(clip)].append(clip)
    for label in sorted(by_label):
        sources = by_label[label]
        wanted = {p: s * sum(map(len, sources.values())) for p, s in shares.items()}
        for source, members in sources.items():
            if source in part_of:
                wanted[part_of[source]] -= len(members)
        new = [source for source in sources if source not in part_of]
        generator.shuffle(new)
        for source in new:
            part_of[source] = max(shares, key=lambda p: wanted[p])
            wanted[part_of[source]] -= len(sources[source])
    return {p: tuple(c for c in sorted(clips) if part_of[_source(c)] == p) for p in shares}


def _source(clip: Clip) -> str:
    return clip.group or clip.id


def _keep_draw(folder: Path, clips: Sequence[Clip], seed: int) -> Split:
    """The draw that is written down in `folder`, with the clips that came since."""
    path = folder / f"split-{DRAW}-{seed}.csv"
    before = _read_marked_list(path, clips) if path.is_file() else None
    split = draw_split(clips, seed=seed, before=before)
    marked = [(clip, part) for part in PARTS for clip in split.part(part)]
    if before is None or len(marked) > sum(len(before.part(part)) for part in PARTS):
        write_clip_list(path, marked)
    return split


def _read_marked_list(path: Path, clips: Sequence[Clip]) -> Split:
    """The split that the column `split` of a list of clips gives; rows without a part are out."""
    listed = read_clip_list(path)
    kept = keep_ids((clip for clip, _ in listed), clips)
    marked = [(clip, part) for clip, (_, part) in zip(kept, listed, strict=True) if part]
    parts = {name: tuple(clip for clip, part in marked if part == name) for name in PARTS}
    counts = Counter(clip.id for clip, _ in marked)
    shared = [clip_id for clip_id, count in counts.items() if count > 1]
    if shared:
        raise ValueError(
            f"{path}: {len(shared)} ids are those of several clips: {_some(shared)}.\n"
            f"An id names one clip: rename, or leave out, the others."
        )
    if not parts["train"]:
        raise ValueError(
            f"{path}: expected a column `split` with train, val or test in its rows, found no "
            f"clip for train.\nAdd the column, or pass split={DRAW}."
        )
    return Split(path.stem, **parts)


def _read_hmdb51(path: Path, lists: Sequence[str], clips: Sequence[Clip]) -> Split:
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or path.name not in lists:
        choices = ", ".join(f"{folder}/{name}" for name in lists)
        raise ValueError(f"split={path}: HMDB-51 has several splits; expected one of {choices}.")
    parts = _tell_parts_apart(read_hmdb51_lists(folder, path.name), clips)
    return Split(f"hmdb51-{path.name}", val=(), **parts)


def _tell_parts_apart(
    parts: Mapping[str, tuple[Clip, ...]], clips: Sequence[Clip]
) -> dict[str, tuple[Clip, ...]]:
    """The parts that lists give, their clips under the ids they have among `clips`."""
    everything = [clip for listed in parts.values() for clip in listed]
    named = iter(keep_ids(tell_apart(everything), clips))
    return {part: tuple(islice(named, len(listed))) for part, listed in parts.items()}


def _with_validation(split: Split, seed: int) -> Split:
    """This split, with a tenth of each class's train clips for validation where it has none."""
    if split.val:
        return split
    parts = _draw_parts(split.train, _SHARES_WITHOUT_TEST, seed, {})
    return Split(split.name, **parts, test=split.test)


def _read_protocol(path: Path, clips: Sequence[Clip]) -> Split:
    content = _read_yaml(path)
    listed = read_table(path.parent / content["listed"]) if "listed" in content else clips
    _refuse_foreign_classes(path, listed, clips)
    parts = {part: _read_part(path, part, content, listed) for part in PARTS}
    named = {part: parts[part] for part in PARTS if isinstance(content[part], str)}
    parts |= _tell_parts_apart(named, clips)
    if not isinstance(content["val"], str):
        # UCF-101's official train lists hold the validation group too.
        in_val = {clip.id for clip in parts["val"]}
        if isinstance(content["train"], str):
            parts["train"] = tuple(c for c in parts["train"] if c.id not in in_val)
    return Split(path.stem, **parts)


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
    raise ValueError(
        f"split={name}: expected {', '.join([*names, DRAW])} or the path of a split file "
        f"(YAML, or CSV with a column split), found neither."
        f"{suggest(name, names)}"
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
        return read_list_file(path.parent / value)
    if not isinstance(value, list) or not all(isinstance(group, str) for group in value):
        raise ValueError(
            f"{path}, {part}: expected a list of groups like [g08, g09] or the name of a list "
            f"file, found {value!r}."
        )
    return tuple(clip for clip in listed if clip.group in value)
