"""A text in pieces: whole words of clean lines, however long the text and its lines are."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.texts.parts import Stretch, read_bytes, split_files

_MOST_WORD_BYTES = 1 << 20
_BLANKS = b" \t\r\v\f"
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16",
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """UTF-8 of whole words. Each "\\n" in it ends a line that is not empty.

    `num_empty` lines before those were empty, and are left out.
    """

    text: bytes
    num_empty: int


def read_pieces(stretch: Stretch) -> Iterator[Piece]:
    """The pieces of a text, of about a megabyte, its last line ended.

    Blanks around lines are dropped. Raises ValueError for what is no text in UTF-8, naming the
    file and the byte.
    """
    for one in split_files(stretch):
        yield from _read_file(one)


def _read_file(stretch: Stretch) -> Iterator[Piece]:
    is_open = False  # whether the line has begun
    for block in _read_whole_words(stretch):
        text = re.sub(rb"[ \t\r\v\f]+\n", b"\n", block)
        text = re.sub(rb"\n\s+", b"\n", text)
        text = text if is_open else text.lstrip()
        if text:
            is_open = not text.endswith(b"\n")
        yield Piece(text, block.count(b"\n") - text.count(b"\n"))
    if is_open:
        yield Piece(b"\n", 0)


def _read_whole_words(stretch: Stretch) -> Iterator[bytes]:
    """Blocks of checked text that end after a line's end, or else before a space."""
    (path,), rest, at = stretch.files, b"", stretch.start
    for block in read_bytes(stretch):
        text = rest + (block if at else _drop_mark(block, path))
        at += len(block)
        cut = text.rfind(b"\n") + 1 or len(text[: text.rfind(b" ") + 1].rstrip(_BLANKS))
        if not cut and len(text) > _MOST_WORD_BYTES:
            cut = _find_boundary(text)
        rest = text[cut:]
        if cut:
            yield _check_text(text[:cut], path, at - len(text))
    if rest:
        yield _check_text(rest, path, at - len(rest))


def _find_boundary(block: bytes) -> int:
    """Where the last character of UTF-8 begins."""
    place = len(block) - 1
    while place > len(block) - 4 and block[place] & 0xC0 == 0x80:
        place -= 1
    return place


def _drop_mark(block: bytes, path: Path) -> bytes:
    """The first block without the mark of UTF-8; another mark is refused."""
    for mark, name in _MARKS.items():
        if block.startswith(mark):
            raise ValueError(f"{path}: expected UTF-8, found {name}.\n{_write_fix(path, name)}")
    return block.removeprefix(codecs.BOM_UTF8)


def _check_text(block: bytes, path: Path, at: int) -> bytes:
    """The block, which begins at byte `at`; ValueError where it is no text."""
    if (place := block.find(b"\0")) >= 0:
        raise ValueError(
            f"{path}: expected a text in UTF-8, found a byte of zero at byte {at + place:,}: it is "
            f"no text, or one of UTF-16.\n{_write_fix(path, 'UTF-16')}"
        )
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: expected UTF-8, found other bytes at byte {at + error.start:,}.\n"
            f"{_write_fix(path, 'LATIN1')}"
        ) from error
    return block


def _write_fix(path: Path, encoding: str) -> str:
    how = f"iconv -f {encoding} -t UTF-8"
    if path.suffix == ".gz":
        return f"If it is {encoding}: zcat {path} | {how} > {path.with_suffix('')} && rm {path}"
    return f"If it is {encoding}: {how} {path} > fixed && mv fixed {path}"
