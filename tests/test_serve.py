"""The served page: takes a video, tells how far it is, gives its page, and keeps no file."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.serve.app import Limits, make_app
from eval.serve.temporary import lend_temporary
from eval.serve.video import KEPT_JOBS
from tests.served_page import OCTETS, ask, list_files, run_server
from tests.test_predict_videos import make_classifier, write_colours
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server with tight limits, whose temporary files lie in `tmp_path/kept`."""
    (tmp_path / "kept").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "kept"))
    app = make_app(make_classifier(), limits=Limits(most_bytes=100_000, most_seconds=3.0))
    with run_server(app) as address:
        yield address


def send(address: str, path: Path) -> dict[str, Any]:
    """The job of a video when it is done, and its key."""
    return send_bytes(address, path.read_bytes(), name=path.name)


def send_bytes(address: str, content: bytes, *, name: str) -> dict[str, Any]:
    """The job of what a browser calls `name` when it is done, and its key."""
    query = urllib.parse.urlencode({"name": name})
    status, text = ask(f"{address}/videos?{query}", data=content, headers=OCTETS)
    assert status == 200, text
    key = json.loads(text)["key"]
    for _ in range(1200):
        job: dict[str, Any] = json.loads(ask(f"{address}/videos/{key}")[1])
        if job["is_done"]:
            return {**job, "key": key}
        time.sleep(0.05)
    raise AssertionError(f"not done: {job}")


def test_a_dropped_video_gets_its_page_and_is_deleted(address: str, tmp_path: Path) -> None:
    status, text = ask(address)
    assert status == 200
    assert "Drop a video here" in text
    job = send(address, write_colours(tmp_path / "my ü.avi", "gb", num_frames=10))
    assert (job["error"], job["num_read"]) == ("", 20)
    status, page = ask(f"{address}/videos/{job['key']}/page")
    assert status == 200
    assert "my ü.avi" in page
    assert "green from 0.0 to" in page
    assert list_files(tmp_path / "kept") == []


def test_what_is_no_video_is_told_and_deleted(address: str, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    assert send(address, tmp_path / "text.mp4")["error"] == "not a video"
    assert list_files(tmp_path / "kept") == []


def test_too_large_or_too_long_is_refused(address: str, tmp_path: Path) -> None:
    status, text = ask(f"{address}/videos?name=a", data=b"0" * 100_001, headers=OCTETS)
    assert (status, "larger than" in text) == (413, True)
    long = write_colours(tmp_path / "long.avi", "r", num_frames=80)
    assert "longer than 3 seconds" in send(address, long)["error"]
    assert list_files(tmp_path / "kept") == []


def test_another_sites_page_cannot_use_the_server(address: str) -> None:
    assert ask(address, headers={"Host": "evil.example"})[0] == 400
    plain = {"content-type": "text/plain"}
    assert ask(f"{address}/videos?name=a", data=b"x", headers=plain)[0] == 415


@pytest.mark.parametrize("way", ["../..", "../../..", "./../../../kept", "{tmp_path}"])
def test_a_file_that_a_name_leads_to_stays_as_it_is(address: str, tmp_path: Path, way: str) -> None:
    # A name that is used as it comes leads to one of these, which is overwritten, then deleted.
    others = [tmp_path / "x.avi", tmp_path / "kept" / "x.avi"]
    for other in others:
        other.write_text("of somebody else")
    job = send_bytes(address, b"sent", name=f"{way.format(tmp_path=tmp_path)}/x.avi")
    assert job["error"] == "not a video"
    assert [other.read_text() for other in others if other.exists()] == ["of somebody else"] * 2


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/..", "a\0b", "\N{MOVIE CAMERA}" * 90],
    ids=["none", "dot", "dots", "ends in dots", "nul", "long"],
)
def test_a_name_that_no_file_can_have_is_taken_all_the_same(
    address: str, tmp_path: Path, name: str
) -> None:
    assert send_bytes(address, b"sent", name=name)["error"] == "not a video"
    assert list_files(tmp_path / "kept") == []


def test_an_unknown_video_is_said_to_be_gone(address: str) -> None:
    assert ask(f"{address}/videos/nothing")[0] == 404
    assert ask(f"{address}/videos/nothing/page")[0] == 404


def begin_to_send(address: str, stack: contextlib.ExitStack) -> socket.socket:
    """A browser that has sent the first 5 bytes of 9,000."""
    host, port = address.removeprefix("http://").split(":")
    head = f"POST /videos?name=a HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000\r\n"
    browser = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
    browser.sendall(f"{head}Content-Type: {OCTETS['content-type']}\r\n\r\nhello".encode())
    return browser


def test_a_browser_that_goes_away_leaves_no_file_and_no_traceback(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as stack:
        begin_to_send(address, stack)
        wait_until(lambda: len(list_files(tmp_path / "kept")) == 1)
    wait_until(lambda: list_files(tmp_path / "kept") == [])
    assert ask(address)[0] == 200
    assert caplog.text == ""


def test_of_fifty_browsers_at_once_no_more_are_taken_than_can_wait(
    address: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        browsers = [begin_to_send(address, stack) for _ in range(50)]
        wait_until(lambda: len(list_files(tmp_path / "kept")) == KEPT_JOBS)
        refused = 0
        while refused < len(browsers) - KEPT_JOBS:
            ready, _, _ = select.select(browsers, [], [], 30)
            assert ready, f"{refused} were refused, the others wait"
            for browser in ready:
                assert browser.recv(1000).startswith(b"HTTP/1.1 503")
                browsers.remove(browser)
                refused += 1
        assert len(list_files(tmp_path / "kept")) == KEPT_JOBS
    wait_until(lambda: list_files(tmp_path / "kept") == [])
    assert send_bytes(address, b"sent", name="a")["error"] == "not a video"


def test_a_body_that_comes_too_slowly_makes_room_for_others(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.serve.http.GRACE_SECONDS", 0.2)
    with contextlib.ExitStack() as stack:
        browser = begin_to_send(address, stack)
        assert browser.recv(1000).startswith(b"HTTP/1.1 408")
        assert list_files(tmp_path / "kept") == []


def test_what_a_killed_server_left_is_gone_when_the_next_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, tempfile; from eval.serve.temporary import lend_temporary\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "with lend_temporary() as folder:\n"
        "    (folder / 'video.avi').touch(); print(folder, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        killed, living = (
            Path((server.stdout or sys.stdin).readline().strip()) for server in servers
        )
        servers[0].kill()
        servers[0].wait()
        assert (killed / "video.avi").exists()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with lend_temporary():
            assert not killed.exists()
            assert (living / "video.avi").exists()
        servers[1].communicate("")
    assert not living.exists()
