"""What processes that share a store hold against each other: its plan, and each shard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from extract.leases import Leases
from extract.plan import Shard, is_done
from pipeline.features import FeatureSpec, ShardWriter
from pipeline.files import UNFINISHED

_PLANNING = "plan.lock"


def hold_plan(folder: Path, leases: Leases) -> AbstractContextManager[None]:
    """Hold what a store is begun with, waiting for another that does; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return leases.holding(folder / _PLANNING)


@contextmanager
def claim_shard(
    folder: Path, shard: Shard, leases: Leases, *, patiently: bool = False
) -> Iterator[bool]:
    """Hold the shard against other processes; False if one of them holds it.

    `patiently`: after as long as it takes to see that it lives; else at once.
    """
    lease = name_lease(folder, shard)
    is_mine = leases.claim_patiently(lease) if patiently else leases.claim(lease)
    try:
        yield is_mine
    finally:
        if is_mine:
            leases.release(lease)


def name_lease(folder: Path, shard: Shard) -> Path:
    """The file of the shard's lease."""
    return folder / f"{shard.name}.lock"


@contextmanager
def write_shard(
    folder: Path, shard: Shard, spec: FeatureSpec, leases: Leases
) -> Iterator[ShardWriter]:
    """The writer of a shard that this process claimed.

    Where it was suspended, and another took the shard over and was done before, that one's file
    stays: it has the same content.
    """
    lease = name_lease(folder, shard)
    try:
        with ShardWriter(folder, shard.name, spec) as file:
            yield file
    except FileNotFoundError:
        if leases.holds(lease) or not is_done(folder, shard):
            raise
    if leases.holds(lease):
        # What kills left of it, and what one that was suspended has not finished.
        for path in folder.glob(f"{shard.name}.h5*{UNFINISHED}"):
            path.unlink(missing_ok=True)
