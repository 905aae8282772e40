"""Where lies what a run or a store needs beside its folder, found again from anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """The path of a file or folder: `absolute`, and `relative` to the owner's folder, a run's or a
    store's.

    So it is found when its owner is read from another folder, and when both are moved together.
    `digest` is of what lay there, "" where it has none. Runs of earlier versions know the path only
    as it was given, or a pattern of it, relative to a folder that was not written down: it is
    looked for from here and from every folder above the run.
    """

    absolute: str
    relative: str
    digest: str = ""

    @classmethod
    def of(cls, path: Path, folder: Path, *, digest: str = "") -> Place:
        """The place of `path` for the run or store in `folder`."""
        absolute = path.resolve()
        return cls(str(absolute), os.path.relpath(absolute, folder.resolve()), digest)

    def list_candidates(self, folder: Path) -> Iterator[Path]:
        """Where it may lie now, the likeliest first."""
        if self.relative:
            yield Path(os.path.normpath(folder.resolve() / self.relative))
        if Path(self.absolute).is_absolute():
            yield Path(self.absolute)
            return
        for parent in (Path(), *folder.resolve().parents):
            yield from sorted(parent.glob(self.absolute))

    def locate(self, folder: Path) -> Path:
        """The first candidate that is there, else the path as it was."""
        there = (path for path in self.list_candidates(folder) if path.exists())
        return next(there, Path(self.absolute))


def find_place(
    place: Place, folder: Path, *, refuse: Callable[[Path], str], what: str, fix: str
) -> Path:
    """The first candidate for which `refuse` gives no reason against it.

    Raises ValueError saying where the run or store in `folder` looked for `what`, why it is none of
    these, and the `fix`.
    """
    looked: dict[Path, str] = {}
    for path in place.list_candidates(folder):
        if path in looked:
            continue
        reason = refuse(path)
        if not reason:
            return path
        looked[path] = reason
    told = "\n".join(f"  {path}: {reason}" for path, reason in looked.items())
    told = told or f"  {place.absolute}, from here and from above the run: nothing there"
    raise ValueError(f"{folder}: {what} was not found. Looked at\n{told}\n{fix}")
