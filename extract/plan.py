"""Which clips make which shard, and which shards are still to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.clips import Clip, keep_ids
from pipeline.features import read_shard
from pipeline.files import digest_file, write_text
from pipeline.seals import dump_sealed, load_sealed

PLAN = "plan.json"
_FORMAT = "plan 2"
CLIPS_PER_SHARD = 32


@dataclass(frozen=True)
class Shard:
    """The unit of work: a file of the store, and the clips whose features it holds."""

    name: str
    clips: tuple[Clip, ...]

    @property
    def number(self) -> int:
        """Its place in the plan."""
        return int(self.name.rpartition("-")[2])


def plan_shards(folder: Path, clips: Sequence[Clip]) -> tuple[Shard, ...]:
    """The shards that hold these clips, as written down in the store's plan.json.

    Clips the plan does not know are appended to it in shards of CLIPS_PER_SHARD, in their order; so
    a plan never changes under a process that works on it, and the same list gives the same plan. A
    clip that the plan knows by its path keeps its id. To be called by one process at a time.
    """
    shards = read_plan(folder)
    known = {clip.id: clip for shard in shards for clip in shard.clips}
    clips = keep_ids(clips, list(known.values()))
    _refuse_moved(clips, known)
    new = [clip for clip in clips if clip.id not in known]
    for start in range(0, len(new), CLIPS_PER_SHARD):
        name = f"shard-{len(shards):05d}"
        shards.append(Shard(name, tuple(new[start : start + CLIPS_PER_SHARD])))
    if new:
        content = {"format": _FORMAT, "shards": [asdict(shard) for shard in shards]}
        write_text(folder / PLAN, dump_sealed(content))
    wanted = {clip.id for clip in clips}
    return tuple(shard for shard in shards if wanted & {clip.id for clip in shard.clips})


def read_plan(folder: Path) -> list[Shard]:
    """All shards of the store's plan, [] before the first extraction; ValueError for damage."""
    path = folder / PLAN
    if not path.is_file():
        return []
    try:
        content = load_sealed(path.read_text(encoding="utf-8"))
        # Those of before were a list.
        entries = content if isinstance(content, list) else content["shards"]
        return [
            Shard(entry["name"], tuple(Clip(**clip) for clip in entry["clips"]))
            for entry in entries
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged ({error}).\n"
            f"Delete it and run the same `python -m extract` again: only shards that do not hold "
            f"the clips of the new plan are done anew."
        ) from error


def _refuse_moved(clips: Sequence[Clip], known: dict[str, Clip]) -> None:
    for clip in clips:
        before = known.get(clip.id, clip)
        if before != clip:
            raise ValueError(
                f"Clip {clip.id} is in the store as {before.path}, class {before.label}, but lies "
                f"now at {clip.path}, class {clip.label}.\n"
                f"Extract into another folder with --out, or move it back."
            )


def is_done(folder: Path, shard: Shard) -> bool:
    """Whether the shard's file is there."""
    return (folder / f"{shard.name}.h5").is_file()


def find_changed(folder: Path, shard: Shard, videos: Path) -> list[str]:
    """Ids of the clips of a done shard whose video is no longer the one that was read.

    A video that is gone, or no file any more, counts as unchanged: its features stay.
    """
    _, records, failures = read_shard(folder, shard.name)
    written = (folder / f"{shard.name}.h5").stat().st_mtime
    changed = []
    for clip, num_bytes, digest in [
        *((r.clip, r.num_bytes, r.digest) for r in records),
        *((f.clip, f.num_bytes, "") for f in failures),
    ]:
        path = videos / clip.path
        if not path.is_file():
            continue
        if measure_bytes(path) != num_bytes or (
            path.stat().st_mtime > written and digest != digest_file(path)
        ):
            changed.append(clip.id)
    return changed


def measure_bytes(path: Path) -> int:
    """The size of a file in bytes, -1 if it cannot be read."""
    return path.stat().st_size if os.access(path, os.R_OK) else -1
