"""A checksum inside a text file, by which one that decayed is told from a whole one.

CRC-32 as in zip (ISO 3309): no flipped bit and no damaged stretch of up to 32 bits escapes it. A
text of before has none and is read unchecked.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

KEY = "checksum"
BLANK = "crc32:00000000"
"""Stands where the checksum is to be; the checksum is that of the text with this in it."""
_SEAL = re.compile("crc32:[0-9a-f]{8}")


def seal(text: str) -> str:
    """The text, which holds BLANK once, with its checksum in place of BLANK."""
    assert text.count(BLANK) == 1
    return text.replace(BLANK, _compute(text))


def check_seal(text: str) -> None:
    """Raise ValueError if the text holds a checksum and is not as it was sealed."""
    found = _SEAL.search(text)
    if found is None:
        return
    expected = _compute(text[: found.start()] + BLANK + text[found.end() :])
    if found[0] != expected:
        raise ValueError(f"it has the checksum {expected}, but says {found[0]}")


def is_seal(word: str) -> bool:
    """Whether this is the checksum of a sealed text."""
    return _SEAL.fullmatch(word) is not None


def _compute(text: str) -> str:
    return f"crc32:{zlib.crc32(text.encode()):08x}"


def dump_sealed(content: Mapping[str, Any]) -> str:
    """The content as a JSON text with a checksum among its keys."""
    return seal(json.dumps({**content, KEY: BLANK}, indent=1, sort_keys=True) + "\n")


def load_sealed(text: str) -> Any:
    """What `dump_sealed` was given, or any JSON of before; ValueError for damage."""
    check_seal(text)
    content = json.loads(text)
    return {k: v for k, v in content.items() if k != KEY} if isinstance(content, dict) else content
