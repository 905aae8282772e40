"""All missing cells of a plan, in rounds of seeds, in processes side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

from joblib import Parallel, delayed, parallel_config

from eval.pages.text import write_seconds
from papers.reproduction.cells import DEFAULT, Cell
from papers.reproduction.estimate import Clock
from papers.reproduction.lines import DIVERGED, Line, add_lines
from papers.reproduction.work import Refused, carry_out

_PAGE_EVERY_SECONDS = 600
_MORE_TRIES = 2

Work = Callable[[Cell, Path], tuple[str, Line | Refused]]
"""What a process does for a cell; gives the cell's name and what came of it."""


def order(cells: Iterable[Cell], clock: Clock) -> list[Cell]:
    """Seed after seed; in each the default reading first, the shortest first."""
    return sorted(
        cells, key=lambda c: (c.config.seed, c.reading != DEFAULT, clock.seconds(c), c.name)
    )


def find_missing(cells: Iterable[Cell], lines: Iterable[Line]) -> list[Cell]:
    """The cells that no line is of."""
    known = {line.digest for line in lines}
    return [cell for cell in cells if cell.config.digest() not in known]


def carry_out_all(
    cells: Sequence[Cell],
    *,
    runs: Path,
    results: Path,
    clock: Clock,
    num_jobs: int,
    write_page: Callable[[], object],
) -> tuple[Refused, ...]:
    """Carry out the cells, in their order, each one's line kept when it ends; those without one.

    `write_page` is called now and then, so that there is always a page that is true.
    """
    refused: list[Refused] = []
    left = {cell.name: cell for cell in cells}
    written = time.monotonic()
    for name, found in run_side_by_side(cells, runs=runs, num_jobs=num_jobs):
        del left[name]
        if isinstance(found, Line):
            add_lines(results, [found])
            clock.add(found)
        else:
            refused.append(found)
        seconds = sum(clock.seconds(cell) for cell in left.values()) / num_jobs
        print(f"[{len(cells) - len(left)} of {len(cells)}] {say(name, found)}", flush=True)
        if left:
            print(f"  about {write_seconds(seconds)} left", flush=True)
        if time.monotonic() - written > _PAGE_EVERY_SECONDS:
            write_page()
            written = time.monotonic()
    return tuple(refused)


def say(name: str, found: Line | Refused) -> str:
    """What came of a cell, for the terminal."""
    if isinstance(found, Refused):
        return f"{name}: {found.reason}"
    if found.state == DIVERGED:
        return f"{name}: diverged"
    return f"{name}: {found.test:.3f} (floor {found.floor:.3f}), {write_seconds(found.seconds)}"


def _name_outcome(cell: Cell, runs: Path) -> tuple[str, Line | Refused]:
    return cell.name, carry_out(cell, runs=runs)


def run_side_by_side(
    cells: Sequence[Cell], *, runs: Path, num_jobs: int, work: Work = _name_outcome
) -> Iterator[tuple[str, Line | Refused]]:
    """Each cell's name and what came of it, as they end.

    A cell whose process dies, as for want of memory, is tried again twice, each time alone.
    """
    left = {cell.name: cell for cell in cells}
    while left:
        try:
            for name, found in _start(list(left.values()), runs, num_jobs=num_jobs, work=work):
                del left[name]
                yield name, found
        except BrokenProcessPool:
            # It does not say whose process died: of those that may have run each is tried alone.
            for cell in list(left.values())[:num_jobs]:
                del left[cell.name]
                yield cell.name, _try_alone(cell, runs, work=work)


def _try_alone(cell: Cell, runs: Path, *, work: Work) -> Line | Refused:
    for _ in range(_MORE_TRIES):
        with suppress(BrokenProcessPool):
            ((_, found),) = _start([cell], runs, num_jobs=2, work=work)  # 1 would be this process
            return found
    return Refused(
        cell.name,
        f"its process was killed {_MORE_TRIES + 1} times, as happens where memory is short.\n"
        "Free some, or go to a machine with more, and run the same command again: it goes on after "
        "its last whole epoch.",
    )


def _start(
    cells: Sequence[Cell], runs: Path, *, num_jobs: int, work: Work
) -> Iterator[tuple[str, Line | Refused]]:
    with parallel_config("loky", n_jobs=num_jobs, inner_max_num_threads=1):
        yield from Parallel(return_as="generator_unordered")(
            delayed(work)(cell, runs) for cell in cells
        )
