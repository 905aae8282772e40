"""Which files, and which stretches of them, are the parts of a text."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, cast

from pipeline.files import digest_file, name_special

PARTS = ("train", "val", "test")
HELD_OUT = 0.05
"""The share of a text that a part without a file takes where none is given."""
_BLOCK_BYTES = 1 << 20
# Of a name without its endings; the first that fits decides. Of the 1 Billion Word benchmark's
# held-out shards the papers score the first, and the second is for validation.
_PATTERNS = {
    "test": re.compile(r"(.*[.\-_])?test([.\-_].*)?|news\.en\.heldout-00000-of-\d+"),
    "val": re.compile(
        r"(?!news\.en\.)(.*[.\-_])?(valid|validation|val|dev|heldout)([.\-_].*)?"
        r"|news\.en\.heldout-00001-of-\d+"
    ),
    "train": re.compile(r"(.*[.\-_])?train(ing)?([.\-_].*)?|news\.en-\d+-of-\d+"),
}
_NO_TEXTS = (".zip", ".tgz", ".tar", ".bz2", ".xz", ".pdf", ".md", ".py", ".json", ".csv")
_ENDINGS = ("", ".txt", ".tokens", ".text", ".raw")
_HOW = (
    "A folder holds train, valid and test texts, such as ptb.train.txt, valid.txt.gz or shards "
    "news.en-00001-of-00100; one file is cut into the three."
)


@dataclass(frozen=True)
class Stretch:
    """The bytes [start, end) of files one after another; `end` None: to their end.

    Of a packed file the bytes are those of its content.
    """

    files: tuple[Path, ...]
    start: int = 0
    end: int | None = None

    def digest(self) -> str:
        """32 hex digits that name what is read."""
        of_files = "-".join(digest_file(path) for path in self.files)
        return f"{of_files}[{self.start}:{self.end}]"


def find_parts(root: str | None, *, held_out: float | None) -> dict[str, Stretch]:
    """The stretches of train, val and test below `root`: those that are there.

    What has no file of its own is cut off the end of the one that has, the share `held_out` each
    (None: HELD_OUT): of one file val and test, in a folder without a valid text val off train.
    Raises ValueError where there is nothing, for two texts of one part, for a text too short to be
    cut, and for a `held_out` that would cut nothing.
    """
    if root is None:
        raise ValueError(f"task.root: expected the folder of the texts, found none.\n{_HOW}")
    path = Path(root)
    if special := name_special(path):
        raise ValueError(f"{path}: expected a folder of texts or one text, found {special}.")
    if path.is_file():
        return _cut(Stretch((path,)), ("val", "test"), share=held_out or HELD_OUT)
    if not path.is_dir():
        raise ValueError(f"{path}: expected a folder of texts or one text, found nothing.\n{_HOW}")
    found = {part: Stretch(files) for part, files in _list_files(path).items() if files}
    if "train" in found and "val" not in found:
        return {**found, **_cut(found["train"], ("val",), share=held_out or HELD_OUT)}
    if held_out is not None and "train" in found:
        raise ValueError(
            f"task.held_out is {held_out}, which has no effect: {path} has the files of its parts. "
            f"Leave it out."
        )
    return found


def check_parts(found: dict[str, Stretch], root: str) -> None:
    """Raise ValueError unless there is a text to train on."""
    if "train" not in found:
        names = ", ".join(sorted(path.name for path in Path(root).iterdir())[:5])
        raise ValueError(
            f"{root}: expected a text to train on, found none among its files ({names}).\n{_HOW}"
        )


def find_part(name: str) -> str:
    """The part that a file's name tells, or ""."""
    stem = name.removesuffix(".gz")
    ending = max((e for e in _ENDINGS if stem.endswith(e)), key=len)
    stem = stem.removesuffix(ending).lower()
    return next((part for part, pattern in _PATTERNS.items() if pattern.fullmatch(stem)), "")


def _list_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of each part, in the folder itself or else in those below it, sorted by name.

    A file that is there both packed and plain is read once.
    """
    files: dict[str, list[Path]] = {part: [] for part in PARTS}
    inside = sorted(path for path in folder.iterdir() if path.is_file())
    if not any(find_part(path.name) for path in inside):
        inside = sorted(path for path in folder.glob("*/*") if path.is_file())
    plain = {path for path in inside if path.suffix != ".gz"}
    for path in inside:
        is_twice = path.suffix == ".gz" and path.with_suffix("") in plain
        part = "" if is_twice or path.suffix in _NO_TEXTS else find_part(path.name)
        if part:
            files[part].append(path)
    for part, chosen in files.items():
        shards = [p for p in chosen if re.search(r"-of-\d+", p.name)]
        if len(chosen) > 1 and len(shards) < len(chosen):
            names = " and ".join(path.name for path in chosen[:3])
            raise ValueError(
                f"{folder}: expected one {part} text, or shards of one, found {names}.\n"
                f"Leave one of them there, or pass task.root=FILE."
            )
    return {part: tuple(chosen) for part, chosen in files.items()}


def _cut(whole: Stretch, parts: Sequence[str], *, share: float) -> dict[str, Stretch]:
    """Train, and `parts` of the share each, off the end of it; cut after a line, else a word."""
    total = sum(measure_bytes(path) for path in whole.files)
    places = [_find_cut(whole, int(total * (1 - share * num))) for num in range(len(parts), 0, -1)]
    bounds = [0, *places, total]
    if any(start >= end for start, end in pairwise(bounds)):
        raise ValueError(
            f"{whole.files[0]}: expected a text from whose end {' and '.join(parts)} can be cut, "
            f"{share:g} of it each, found {total:,} bytes."
        )
    pairs = zip(("train", *parts), pairwise(bounds), strict=True)
    return {part: replace(whole, start=start, end=end) for part, (start, end) in pairs}


def measure_bytes(path: Path) -> int:
    """The bytes of a text, unpacked."""
    if path.suffix != ".gz":
        return path.stat().st_size
    with open_text(path) as file:
        return sum(len(block) for block in iter(lambda: _read_block(file, path), b""))


def _find_cut(whole: Stretch, place: int) -> int:
    """The first place from `place` on that follows a line's end, else a space, else a character."""
    near = replace(whole, start=place, end=place + _BLOCK_BYTES)
    window = b"".join(block for one in split_files(near) for block in read_bytes(one))
    for mark in (b"\n", b" "):
        if (found := window.find(mark)) >= 0:
            return place + found + 1
    return place + next((i for i, byte in enumerate(window) if byte & 0xC0 != 0x80), 0)


def split_files(stretch: Stretch) -> Iterator[Stretch]:
    """The stretch of each of its files that it takes anything of."""
    if not stretch.start and stretch.end is None:
        yield from (Stretch((path,)) for path in stretch.files)
        return
    before = 0
    for path in stretch.files:
        size = measure_bytes(path)
        start = max(stretch.start - before, 0)
        end = size if stretch.end is None else min(stretch.end - before, size)
        if start < end:
            yield Stretch((path,), start, end)
        before += size


def read_bytes(stretch: Stretch) -> Iterator[bytes]:
    """The bytes of a stretch of one file, in blocks."""
    (path,) = stretch.files
    is_packed, at = path.suffix == ".gz", 0
    with open_text(path) as file:
        if not is_packed:
            at = file.seek(stretch.start)
        while block := _read_block(file, path):
            first = max(stretch.start - at, 0)
            last = len(block) if stretch.end is None else max(stretch.end - at, 0)
            at += len(block)
            if block[first:last]:
                yield block[first:last]
            if stretch.end is not None and at >= stretch.end:
                return


def _read_block(file: IO[bytes], path: Path) -> bytes:
    try:
        return file.read(_BLOCK_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): get it again.") from error


def open_text(path: Path) -> IO[bytes]:
    """The bytes of a text, unpacked as they are read."""
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
