"""Processes, told from all others of any host and time, and whether they run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import psutil

# Two processes of one number began at least so far apart; the same one is read to a tick.
_SAME_START_SECONDS = 1.0


@dataclass(frozen=True)
class Holder:
    """A process, told from every other of any host and time."""

    host: str
    system: str
    """The boot and the namespace that its number is of; "" where the system does not tell."""
    pid: int
    started_seconds: float
    """After the boot, or since the epoch where the boot is not known."""

    def __str__(self) -> str:
        return f"process {self.pid} of {self.host}"

    def is_neighbour(self, other: Holder) -> bool:
        """Whether each can see if the other runs."""
        return (self.host, self.system) == (other.host, other.system)

    def is_running(self) -> bool:
        """Whether it runs, as its neighbours see it."""
        try:
            process = psutil.Process(self.pid)
            started_seconds = _measure_start(process)
            is_same = abs(started_seconds - self.started_seconds) < _SAME_START_SECONDS
            return is_same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


def identify() -> Holder:
    """This process."""
    process = psutil.Process()
    return Holder(platform.node(), _read_system(), process.pid, _measure_start(process))


def _measure_start(process: psutil.Process) -> float:
    # psutil adds the boot time, which a clock that is set right moves.
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0)


def _read_system() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # Containers of one host may share its name, and number their processes each from 1.
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
