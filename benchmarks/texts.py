"""The memory that reading a large text takes, and its time: `python -m benchmarks.texts`.

A text of as many words as asked for is generated, in shards, and read as `task=words` reads it:
counted, numbered, and its batches for a minute. What is told is the process's own memory, to which
the pages of a mapped file do not belong: the system drops those when it likes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.sequences import make_loader
from pipeline.tasks import make_task
from pipeline.tasks.words import WordsTask

_SHARD_WORDS = 10_000_000
_BLOCK_WORDS = 1_000_000
_UNLIKE = 200_000
_LINE_WORDS = 25


def write_shards(folder: Path, num_words: int, *, held_out: int = _BLOCK_WORDS // 10) -> None:
    """Shards of `num_words` words whose n-th is as frequent as 1/n, and a valid text."""
    draw = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(_UNLIKE)])
    shares = 1 / np.arange(1, _UNLIKE + 1)
    ends = np.cumsum(shares / shares.sum())

    def write(path: Path, num: int) -> None:
        with path.open("w") as file:
            for start in range(0, num, _BLOCK_WORDS):
                size = min(_BLOCK_WORDS, num - start)
                lines = words[np.searchsorted(ends, draw.random(size)).clip(max=_UNLIKE - 1)]
                for first in range(0, size, _LINE_WORDS):
                    file.write(" ".join(lines[first : first + _LINE_WORDS]) + "\n")

    num_shards = max(1, num_words // _SHARD_WORDS)
    for shard in range(num_shards):
        name = f"news.en-{shard:05d}-of-{num_shards:05d}"
        write(folder / name, num_words // num_shards)
    write(folder / "valid.txt", held_out)


def read_memory() -> float:
    """Megabytes of this process's own memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon"))


def measure(folder: Path, tokens: Path, *, seconds: float) -> Iterator[str]:
    """A line for each stage of reading: seconds, words a second, memory at its end."""
    before, start = read_memory(), time.perf_counter()
    section = {"name": "words", "root": str(folder), "tokens": str(tokens), "vocabulary": 100_000}
    task = make_task(section)
    assert isinstance(task, WordsTask)
    num = int(task.vocabulary.counts.sum())
    yield _tell("before", 0, 0.0, before)
    yield _tell("counted", num, time.perf_counter() - start, read_memory())
    start = time.perf_counter()
    cuts = task.sequences("train")
    yield _tell("numbered", num, time.perf_counter() - start, read_memory())
    start, num_read, peaks = time.perf_counter(), 0, [read_memory()]
    while time.perf_counter() - start < seconds:
        for place, batch in enumerate(make_loader(cuts, 64, seed=0)):
            num_read += int(batch.lengths.sum())
            if place % 1000 == 0:
                peaks.append(read_memory())
            if time.perf_counter() - start >= seconds:
                break
    yield _tell("in batches", num_read, time.perf_counter() - start, max(peaks))
    yield f"least and most memory while in batches: {min(peaks):,.0f} and {max(peaks):,.0f} MB"


def _tell(stage: str, num: int, seconds: float, megabytes: float) -> str:
    rate = f"{num / seconds / 1e6:.1f} million a second" if seconds else ""
    return f"{stage:<12}{num:>14,} tokens {seconds:>7.1f} s  {megabytes:>7,.0f} MB  {rate}".rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.texts", description=__doc__)
    parser.add_argument("--words", type=int, default=200_000_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of batches")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "texts"
        folder.mkdir()
        write_shards(folder, options.words)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{options.words:,} words in {size / 1e6:,.0f} MB of text", flush=True)
        for line in measure(folder, Path(name) / "tokens", seconds=options.seconds):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
