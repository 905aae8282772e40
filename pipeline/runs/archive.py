"""A zip of a run folder, read as the folder would be."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from pipeline.runs.names import CONFIG, FILES

MOST_BYTES = 2**30
"""Of a run's FILES together, unpacked: a net has a few hundred kB."""


def is_archive(path: Path) -> bool:
    """Whether this is a zip, of whatever."""
    return path.is_file() and zipfile.is_zipfile(path)


def unpack_run(path: Path) -> Path:
    """A temporary folder with the files of the run in a zip, which lasts as long as the process.

    The run lies at the zip's top or in one folder of it. Only FILES are written, under these names:
    no path of the zip is followed. ValueError for a zip without a run, with several, with more than
    MOST_BYTES, or a damaged one.
    """
    found = path.stat()
    return _unpack(path.resolve(), found.st_mtime_ns, found.st_size)


@functools.cache
def _unpack(path: Path, mtime_ns: int, num_bytes: int) -> Path:
    root = Path(tempfile.mkdtemp(prefix="np-rnn-run-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    folder = root / path.stem
    folder.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            members = _choose_members(path, archive)
            _check_size(path, members)
            for name, member in members.items():
                # It never gives more bytes than its header says, and its checksum is compared.
                with archive.open(member) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{path}: expected a zip of a run folder, found one that cannot be unpacked "
            f"({type(error).__name__}: {error}).\nZip the folder again, or pass the folder itself."
        ) from error
    return folder


def _choose_members(path: Path, archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """The members that are FILES of the one run in the archive, by these names."""
    members = {PurePosixPath(member.filename): member for member in archive.infolist()}
    homes = sorted({name.parent for name in members if name.name == CONFIG})
    if len(homes) != 1:
        found = f"{len(homes)}: {', '.join(map(str, homes[:3]))}" if homes else f"no {CONFIG}"
        raise ValueError(
            f"{path}: expected a zip of one run folder, found {found}.\n"
            f"Zip the folder of a run alone, or unpack it and pass the run's folder."
        )
    return {name: members[homes[0] / name] for name in FILES if homes[0] / name in members}


def _check_size(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    num_bytes = sum(member.file_size for member in members.values())
    if num_bytes > MOST_BYTES:
        raise ValueError(
            f"{path}: expected a run of {MOST_BYTES:,} bytes at most, found {num_bytes:,} once "
            f"unpacked.\nIf you trust it, unpack it yourself and pass the folder."
        )
