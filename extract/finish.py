"""The end of an extraction in parts: the index, once every shard is there and whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from extract.claims import hold_plan, name_lease
from extract.leases import Leases, read_lease
from extract.outcome import Outcome, Tally, conclude
from extract.plan import Shard, plan_shards
from extract.resume import Resumption, find_todo
from pipeline.clips import FoundClips
from pipeline.features import read_spec


@dataclass(frozen=True)
class Unfinished:
    """What is to be done before there can be an index, of the `num_shards` of these clips."""

    num_shards: int
    left: Resumption
    holders: dict[str, str]
    """Of shards that are missing and in hand, by name, in whose."""

    def describe(self, command: str) -> str:
        """What is missing and damaged, and what makes it: `command`, or parts of it."""
        redone = self.left.redone
        missing = [shard.name for shard in self.left.todo if shard.name not in redone]
        lines = [f"{name}.h5 is to be done anew: {why}." for name, why in redone.items()]
        if missing:
            lines.append(f"Missing: {', '.join(map(self._name, missing))}.")
        return "\n".join(
            [
                *lines,
                f"{len(self.left.todo)} of {self.num_shards} shards are left to do; no index was "
                "written.",
                f"All of them, in any number of processes: {command}",
                "In parts, with --part K/N: a shard whose number is S is of part K = S modulo N "
                "+ 1.",
            ]
        )

    def _name(self, name: str) -> str:
        return f"{name} (held by {self.holders[name]})" if name in self.holders else name


def finish_store(found: FoundClips, out: Path) -> Outcome | Unfinished:
    """Write problems.csv and the index, where all shards of these clips are there and whole.

    Nothing is decoded; every byte of the shards is compared. ValueError where there is no store.
    """
    spec = read_spec(out)
    with Leases() as leases, hold_plan(out, leases):
        shards = plan_shards(out, found.clips)
    left = find_todo(out, shards, found.folder, spec=spec)
    if left.todo:
        return Unfinished(len(shards), left, _find_holders(out, left.todo))
    return conclude(out, spec, found, shards, Tally())


def _find_holders(out: Path, shards: Sequence[Shard]) -> dict[str, str]:
    leases = {shard.name: read_lease(name_lease(out, shard)) for shard in shards}
    return {name: str(lease.holder) for name, lease in leases.items() if lease}
