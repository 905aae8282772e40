"""Leases between processes, and hosts: one holder at a time, none that is gone for ever."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from extract import leases
from extract.holders import Holder, identify
from extract.leases import Lease, Leases, read_lease
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
HERE, THERE = identify(), Holder("node-7", "another boot", 12, 3.0)
ELSEWHERE = replace(THERE, host="node-8")
DEAD = replace(HERE, pid=2**22 + 1)  # no system numbers so far


@dataclass
class Clock:
    """A clock that stands until it is set."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shard-00000.lock"


def hold_until_killed(path: str) -> None:
    with Leases() as held:
        assert held.claim(Path(path))
        print("held", flush=True)
        threading.Event().wait()


@contextmanager
def running(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease."""
    code = "import sys; from tests.test_leases import *; hold_until_killed(sys.argv[1])"
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_lease_has_one_holder_and_is_free_when_it_is_given_up(path: Path) -> None:
    with Leases(HERE) as one, Leases(ELSEWHERE) as other:
        assert one.claim(path)
        assert not other.claim(path)
        assert not one.claim(path)
        assert (one.holds(path), other.holds(path)) == (True, False)
        one.release(path)
        assert other.claim(path)
        found = read_lease(path)
        assert found is not None
        assert found.holder == ELSEWHERE
    assert not list(path.parent.iterdir())


def test_a_holder_that_beats_keeps_its_lease_however_far_the_observers_clock_goes(
    path: Path,
) -> None:
    clock = Clock()
    with Leases(THERE, beat_seconds=0.01) as holder:
        assert holder.claim(path)
        observer = Leases(ELSEWHERE, clock=clock)
        for _ in range(3):
            before = read_lease(path)
            assert not observer.claim(path)
            wait_until(lambda before=before: read_lease(path) != before)  # type: ignore[misc]
            clock.seconds += 1000
        assert not observer.claim(path)
        assert holder.holds(path)


def test_one_that_does_not_beat_is_taken_over_by_the_observers_own_clock(path: Path) -> None:
    assert Leases(THERE).claim(path)
    os.utime(path, (0, 0))
    clock = Clock()
    observer = Leases(ELSEWHERE, clock=clock)
    assert not observer.claim(path)
    os.utime(path, (4e9, 4e9))
    clock.seconds = 59.9
    assert not observer.claim(path)
    clock.seconds = 60.0
    assert observer.claim(path)
    assert [name.name for name in path.parent.iterdir()] == [path.name]


def test_one_that_was_suspended_and_lost_its_lease_leaves_it_to_the_other(path: Path) -> None:
    suspended, other = Leases(THERE), Leases(ELSEWHERE, patience_seconds=0)
    assert suspended.claim(path)
    before = read_lease(path)
    assert before is not None
    assert other.claim(path)
    taken = path.read_bytes()
    assert not suspended.holds(path)
    assert leases._beat(path, before) == before
    suspended.release(path)
    assert path.read_bytes() == taken
    assert other.holds(path)


@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_killed_process_of_this_host_loses_its_lease_at_once_and_to_other_hosts_later(
    path: Path, is_reaped: bool
) -> None:
    stopped = Clock()
    with running(path) as process:
        assert not Leases(clock=stopped).claim(path)
        process.kill()
        if is_reaped:
            process.wait()
        else:
            lease = read_lease(path)
            assert lease is not None
            wait_until(lambda: not lease.holder.is_running())
        assert not Leases(THERE, clock=stopped).claim(path)
        assert Leases(clock=stopped).claim(path)


def test_a_number_that_another_process_has_by_now_is_no_sign_of_life(path: Path) -> None:
    before = replace(HERE, started_seconds=HERE.started_seconds - 100)
    assert Leases(before).claim(path)
    assert Leases(clock=Clock()).claim(path)


@pytest.mark.parametrize("holder", [replace(DEAD, host="node-7"), replace(DEAD, system="2")])
def test_a_number_of_another_host_or_container_is_not_looked_for_here(
    path: Path, holder: Holder
) -> None:
    assert not DEAD.is_running()
    assert Leases(holder).claim(path)
    assert not Leases(clock=Clock()).claim(path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"holder": 1}'])
def test_a_file_of_before_and_one_half_written_is_waited_for_and_then_taken(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    clock = Clock()
    observer = Leases(clock=clock)
    assert not observer.claim(path)
    clock.seconds = 60
    assert observer.claim(path)
    assert [name.name for name in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("is_third", [False, True])
def test_one_that_looked_before_never_takes_the_lease_of_one_that_was_faster(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_third: bool
) -> None:
    assert Leases(DEAD).claim(path)
    faster, slower, third = Leases(), Leases(), Leases()

    def be_faster(ending: Path, lease: Lease) -> bool:
        assert faster.claim(path)
        if is_third:
            faster.release(path)
            assert third.claim(path)
        return leases._create(ending, lease)

    monkeypatch.setattr(slower, "_obtain", be_faster)
    assert not slower._take_over(path, Lease(HERE, "slower"))
    holder = third if is_third else faster
    assert holder.holds(path)
    holder.release(path)
    assert not list(path.parent.iterdir())


def test_a_holder_that_wakes_while_it_is_taken_over_gives_nothing_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken, other = Leases(THERE), Leases(ELSEWHERE, patience_seconds=0)
    assert woken.claim(path)
    lease = read_lease(path)

    def wake(ending: Path, taking: Lease) -> bool:
        is_mine = leases._create(ending, taking)
        woken.release(path)
        return is_mine

    monkeypatch.setattr(other, "_obtain", wake)
    assert other._take_over(path, Lease(ELSEWHERE, "taken"))
    assert read_lease(path) != lease
    assert [name.name for name in path.parent.iterdir()] == [path.name]


def test_one_that_died_taking_over_stops_nobody(path: Path) -> None:
    assert Leases(DEAD).claim(path)
    for _ in range(3):
        last = max(path.parent.iterdir(), key=lambda name: len(name.name))
        ending = leases._name_ending(last, read_lease(last))
        assert leases._create(ending, Lease(DEAD, "died"))
    observer = Leases()
    assert observer.claim(path)
    observer.release(path)
    assert not list(path.parent.iterdir())


def test_of_two_that_both_come_to_move_the_same_file_the_one_it_names_has_the_lease(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Leases(THERE).claim(path)
    second = Leases(ELSEWHERE, patience_seconds=0)
    ending = leases._name_ending(path, read_lease(path))
    assert leases._create(ending, Lease(ELSEWHERE, "first"))  # and is suspended

    def wake_first(name: Path, lease: Lease) -> bool:
        is_mine = Leases._obtain(second, name, lease)
        if name == ending:
            ending.replace(path)  # as the first does when it wakes
        return is_mine

    monkeypatch.setattr(second, "_obtain", wake_first)
    assert second._take_over(path, Lease(ELSEWHERE, "second"))
    named = read_lease(path)
    assert named is not None
    assert named.token == "second"
    assert [name.name for name in path.parent.iterdir()] == [path.name]


def race(barrier: Any, folder: str, num_rounds: int, wins: Any) -> None:
    """Put the rounds that this process won."""
    with Leases() as mine:
        for place in range(num_rounds):
            barrier.wait()
            if mine.claim(Path(folder) / f"{place}.lock"):
                wins.put(place)
        barrier.wait()


@pytest.mark.parametrize("num_processes", [6])
def test_of_processes_that_race_for_a_lease_exactly_one_wins(
    tmp_path: Path, num_processes: int
) -> None:
    num_rounds = 60
    for place in range(0, num_rounds, 2):  # the others are free
        assert Leases(DEAD).claim(tmp_path / f"{place}.lock")
    context = multiprocessing.get_context("spawn")
    barrier, wins = context.Barrier(num_processes), context.Queue()
    arguments = (barrier, str(tmp_path), num_rounds, wins)
    processes = [context.Process(target=race, args=arguments) for _ in range(num_processes)]
    for process in processes:
        process.start()
    won = sorted(wins.get(timeout=600) for _ in range(num_rounds))
    for process in processes:
        process.join()
    assert won == list(range(num_rounds))
    assert wins.empty()
    assert not list(tmp_path.iterdir())


def test_a_live_process_of_this_host_is_seen_without_waiting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Leases, "pause", lambda self: pytest.fail("it waited"))
    assert Leases().claim(path)
    assert not Leases(clock=Clock()).claim_patiently(path)


def test_a_live_process_of_another_host_is_seen_after_a_beat(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = Leases(THERE)
    assert holder.claim(path)
    pauses = []

    def beat(_: Leases) -> None:
        pauses.append(1)
        if len(pauses) == 3:
            lease = read_lease(path)
            assert lease is not None
            leases._beat(path, lease)

    monkeypatch.setattr(Leases, "pause", beat)
    assert not Leases(ELSEWHERE, clock=Clock()).claim_patiently(path)
    assert len(pauses) == 3


def test_one_of_a_host_that_is_gone_is_waited_for_as_long_as_the_patience(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Leases(THERE).claim(path)
    clock = Clock()

    def wait(_: Leases) -> None:
        clock.seconds += 1

    monkeypatch.setattr(Leases, "pause", wait)
    assert Leases(ELSEWHERE, clock=clock).claim_patiently(path)
    assert clock.seconds == 60


def test_holding_waits_until_it_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Leases(THERE)
    assert holder.claim(path)
    monkeypatch.setattr(Leases, "pause", lambda self: holder.release(path))
    other = Leases(ELSEWHERE)
    with other.holding(path):
        assert other.holds(path)
    assert not path.exists()


def test_a_full_disk_leaves_no_file_that_would_be_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Lease) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Lease, "to_bytes", refuse)
    with pytest.raises(OSError, match="No space left"):
        Leases().claim(path)
    assert not path.exists()
