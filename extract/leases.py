"""Leases: files that say which process, of any host that sees their folder, has something in hand.

A lease is made as a file that was not there, which every network file system does in one step, and
its holder counts beats in it. One that is gone, or does not beat, loses it to exactly one other.
flock does not reach all hosts. filelock's SoftFileLease has hosts and beats, but to take one over
it exchanges two names, which NFS and SMB refuse.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from extract.holders import Holder, identify

BEAT_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
_POLLS_PER_BEAT = 20
_ENDING = ".lock"
_UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Lease:
    """What stands in the file: a holder, the name of this one lease of it, and its beats so far."""

    holder: Holder
    token: str
    num_beats: int = 0

    def to_bytes(self) -> bytes:
        """Of one length whatever the beat: it is written over the one before."""
        content = {**asdict(self), "num_beats": f"{self.num_beats:010d}"}
        return json.dumps(content).encode()


def read_lease(path: Path) -> Lease | None:
    """The lease that stands there; None where there is none that can be read."""
    return _parse(_read(path) or b"")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        # NFS says the latter of a file that another host has just replaced.
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return None
        raise


def _parse(content: bytes) -> Lease | None:
    try:
        found = json.loads(content)
        return Lease(Holder(**found["holder"]), found["token"], int(found["num_beats"]))
    except (ValueError, TypeError, KeyError):
        return None


class Leases:
    """The leases of one process; a thread keeps them until they are released, or the block ends.

    with Leases() as leases:
        if leases.claim(path): ...
    """

    def __init__(
        self,
        holder: Holder | None = None,
        *,
        beat_seconds: float = BEAT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._holder = holder or identify()
        self._beat_seconds = beat_seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._held: dict[Path, Lease] = {}
        self._seen: dict[Path, tuple[bytes, float]] = {}
        self._lock = threading.Lock()
        self._is_closing = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat_until_closed, name="leases", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closing.set()
        for path in list(self._held):
            self.release(path)

    def claim(self, path: Path) -> bool:
        """Take the lease; False, at once, where another has it that is not known to be gone."""
        lease = Lease(self._holder, secrets.token_hex(8))
        if not self._obtain(path, lease):
            return False
        with self._lock:
            self._held[path] = lease
        return True

    def holds(self, path: Path) -> bool:
        """Whether this process has it; no more where it was suspended and another took it over."""
        lease = self._held.get(path)
        return lease is not None and _names(path, lease)

    def release(self, path: Path) -> None:
        """Give it up; nothing happens where another took it over."""
        with self._lock:
            lease = self._held.pop(path)
            ending = _name_ending(path, lease)
            if not _create(ending, lease):
                return  # another is taking it over, or died at it
            if _names(path, lease):
                path.unlink(missing_ok=True)
            ending.unlink(missing_ok=True)

    @contextmanager
    def holding(self, path: Path) -> Iterator[None]:
        """Hold the lease in the block, waiting for it as long as its holder lives."""
        while not self.claim(path):
            self.pause()
        try:
            yield
        finally:
            self.release(path)

    def claim_patiently(self, path: Path) -> bool:
        """Take the lease once it is free or its holder known to be gone; False once that one lives.

        Of a process of this host both are known at once; of another, that it lives after a beat,
        that it is gone after the patience.
        """
        before = _read(path)
        while not self.claim(path):
            found = _read(path)
            if found is not None and (found != before or self._is_seen(found)):
                return False
            self.pause()
        return True

    def pause(self) -> None:
        """Let others beat, a fraction of the time that one takes."""
        time.sleep(self._beat_seconds / _POLLS_PER_BEAT)

    def _obtain(self, path: Path, lease: Lease) -> bool:
        return _create(path, lease) or self._take_over(path, lease)

    def _take_over(self, path: Path, lease: Lease) -> bool:
        """Put the lease in the place of a stale one; False if it is not, or another does so.

        Who makes the file of its ending has the right to, and that very file becomes the lease: of
        several only one can move it there, and one that dies before loses the right like a lease.
        """
        found = _read(path)
        if found is None or not self._is_stale(path, found):
            return False
        ending = _name_ending(path, _parse(found))
        if not self._obtain(ending, lease):
            return False
        if _read(path) == found:
            with suppress(FileNotFoundError):  # another found the ending stale, and moved it
                ending.replace(path)
        elif _names(ending, lease):  # its holder woke up, or another took it over before
            ending.unlink(missing_ok=True)
        return _names(path, lease)

    def _is_seen(self, found: bytes) -> bool:
        lease = _parse(found)
        return (
            lease is not None
            and lease.holder.is_neighbour(self._holder)
            and lease.holder.is_running()
        )

    def _is_stale(self, path: Path, found: bytes) -> bool:
        """Whether its process is gone, as far as can be seen, or it has stood still too long.

        By this process's clock alone: those of two hosts differ.
        """
        lease = _parse(found)
        if lease and lease.holder.is_neighbour(self._holder) and not lease.holder.is_running():
            return True
        now = self._clock()
        before, since = self._seen.get(path, (None, now))
        if before != found:
            since = now
        self._seen[path] = found, since
        return now - since >= self._patience_seconds

    def _beat_until_closed(self) -> None:
        while not self._is_closing.wait(self._beat_seconds):
            with self._lock:
                for path, lease in self._held.items():
                    with suppress(OSError):  # tried again at the next beat
                        self._held[path] = _beat(path, lease)


def _beat(path: Path, lease: Lease) -> Lease:
    """The lease with one beat more, written into its file unless that is another's by now."""
    following = Lease(lease.holder, lease.token, lease.num_beats + 1)
    with path.open("r+b") as file:
        found = _parse(file.read())
        if found is None or found.token != lease.token:
            return lease
        # In place: a file that is put in its place meanwhile is not touched.
        file.seek(0)
        file.write(following.to_bytes())
        file.flush()
        os.fsync(file.fileno())  # so that other hosts see it
    return following


def _create(path: Path, lease: Lease) -> bool:
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(lease.to_bytes())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _names(path: Path, lease: Lease) -> bool:
    found = read_lease(path)
    return found is not None and found.token == lease.token


def _name_ending(path: Path, lease: Lease | None) -> Path:
    """The file whose maker alone may end that lease."""
    name = path.name.removesuffix(_ENDING)
    return path.with_name(f"{name}.{lease.token if lease else _UNREADABLE}{_ENDING}")
