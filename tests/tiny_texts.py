"""Small texts in files, for the tests of texts and of the task words."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = ("the", "cat", "dog", "sees", "a", "bird", "and", "sings", "über", "日本")


def draw_text(num_lines: int, seed: int) -> str:
    """Lines of some words each, which follow each other by rules that a net can learn."""
    draw = random.Random(seed)
    lines = []
    for _ in range(num_lines):
        place = draw.randrange(len(WORDS))
        words = []
        for _ in range(draw.randint(1, 9)):
            words.append(WORDS[place])
            place = (place * 3 + draw.randrange(2)) % len(WORDS)
        lines.append(" ".join(words))
    return "\n".join(lines) + "\n"


def write_texts(folder: Path, *, num_lines: int = 60) -> Path:
    """A folder with train.txt, valid.txt and test.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("train", "valid", "test")):
        num = num_lines if name == "train" else num_lines // 3
        (folder / f"{name}.txt").write_text(draw_text(num, seed), encoding="utf-8")
    return folder
