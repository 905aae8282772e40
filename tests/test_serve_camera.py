"""Browsers' cameras: each a stream of its own, bounded in number, size and time, never on disk."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eval.serve.app import make_app
from eval.serve.camera import IDLE_SECONDS, MOST_CAMERAS, Cameras
from eval.serve.http import RequestError
from eval.videos.live import LiveReader
from eval.videos.videos import Classifier
from pipeline.backbones.encoder import Encoder
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NetSpec
from tests.served_page import OCTETS, ask, list_files, run_server
from tests.test_predict_videos import make_classifier, make_encoder, make_net

HEIGHT, WIDTH = 24, 40


def make_recurrent(*, stride: int = 1) -> Classifier:
    net = build_net(NetSpec("np-rnn", 3, 3, hidden_size=10), seed=1).eval()
    return make_classifier(stride=stride, net=net)


def make_frames(num: int, seed: int = 0) -> NDArray[np.uint8]:
    """(num, H, W, 4): each of another mean colour, with an alpha that must not matter."""
    generator = np.random.default_rng(seed)
    means = generator.integers(0, 200, (num, 1, 1, 4))
    return (means + generator.integers(0, 50, (num, HEIGHT, WIDTH, 4))).astype(np.uint8)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with run_server(make_app(make_recurrent())) as address:
        yield address


def start(address: str) -> str:
    status, text = ask(f"{address}/cameras", data=b"", headers=OCTETS)
    assert status == 200, text
    key: str = json.loads(text)["key"]
    return key


def push(
    address: str,
    key: str,
    frame: NDArray[np.uint8],
    *,
    size: str = f"width={WIDTH}&height={HEIGHT}",
) -> tuple[int, str]:
    url = f"{address}/cameras/{key}/frames?{size}"
    return ask(url, data=frame.tobytes(), headers=OCTETS)


def read_stream(classifier: Classifier, frames: NDArray[np.uint8]) -> list[list[float]]:
    """Probabilities after each frame of RGB, by the net's steps alone."""
    state, read = classifier.stepper.initial_state(), []
    for place, frame in enumerate(frames):
        if place % classifier.encoder.spec.stride == 0:
            (features,) = classifier.encoder.encode(frame[None])
            outputs, state = classifier.stepper.step(features, state)
        read.append(classifier.calibration.probabilities(outputs).tolist())
    return read


@pytest.mark.parametrize("stride", [1, 3])
def test_each_camera_is_a_stream_of_its_own(stride: int) -> None:
    classifier = make_recurrent(stride=stride)
    films = [make_frames(8, seed) for seed in (0, 1)]
    with run_server(make_app(classifier)) as address:
        keys = [start(address) for _ in films]
        found: list[list[list[float]]] = [[], []]
        for place in range(8):
            for film, key, answers in zip(films, keys, found, strict=True):
                status, text = push(address, key, film[place])
                assert status == 200, text
                answers.append(json.loads(text)["probabilities"])
    for film, answers in zip(films, found, strict=True):
        # Answers have four decimals.
        np.testing.assert_allclose(answers, read_stream(classifier, film[..., :3]), atol=6e-5)


def test_a_camera_is_told_when_it_shows_none_of_the_labels() -> None:
    frame = make_frames(1)[0]
    (shares,) = read_stream(make_recurrent(), frame[None, ..., :3])
    for threshold, known in ((max(shares) - 1e-6, True), (max(shares) + 1e-6, False)):
        classifier = replace(make_recurrent(), threshold=threshold)
        with run_server(make_app(classifier)) as address:
            _, text = push(address, start(address), frame)
        assert json.loads(text)["is_known"] is known


@pytest.mark.parametrize(
    ("size", "num_bytes", "status", "message"),
    [
        ("width=40", 3840, 400, "Expected .width=W&height=H"),
        ("width=-4&height=24", 3840, 400, "Expected .width=W&height=H"),
        ("width=²&height=24", 3840, 400, "Expected .width=W&height=H"),
        ("width=40&height=0", 0, 413, "40×0 pixels; expected sides from 1 to 320"),
        ("width=321&height=10", 12840, 413, "321×10 pixels; expected sides from 1 to 320"),
        ("width=40&height=24", 3839, 400, "has 3,839 bytes; expected 3,840 bytes of RGBA"),
        ("width=40&height=24", 3841, 413, "too long: expected 3,840 bytes of RGBA"),
    ],
)
def test_a_wrong_frame_is_refused_in_one_line_and_changes_nothing(
    address: str, size: str, num_bytes: int, status: int, message: str
) -> None:
    key, frames = start(address), make_frames(2)
    push(address, key, frames[0])
    size = size.replace("²", "%C2%B2")
    found, text = push(address, key, np.zeros(num_bytes, np.uint8), size=size)
    assert found == status
    assert re.search(message, json.loads(text)["error"])
    last = json.loads(push(address, key, frames[1])[1])["probabilities"]
    np.testing.assert_allclose(last, read_stream(make_recurrent(), frames[..., :3])[-1], atol=6e-5)


def test_another_sites_page_cannot_use_the_camera_routes(address: str) -> None:
    key, plain = start(address), {"content-type": "text/plain"}
    frames = f"{address}/cameras/{key}/frames?width={WIDTH}&height={HEIGHT}"
    body = make_frames(1).tobytes()
    assert ask(f"{address}/cameras", data=b"", headers=plain)[0] == 415
    assert ask(frames, data=body, headers=plain)[0] == 415
    assert ask(frames, data=body, headers={**OCTETS, "Host": "evil.example"})[0] == 400
    assert ask(frames, data=body, headers=OCTETS)[0] == 200


def test_a_camera_that_is_off_is_said_to_be(address: str) -> None:
    key = start(address)
    assert ask(f"{address}/cameras/{key}", method="DELETE")[0] == 200
    status, text = push(address, key, make_frames(1))
    assert (status, "This camera is off" in text) == (404, True)
    assert ask(f"{address}/cameras/{key}", method="DELETE")[0] == 200


def test_few_cameras_are_on_at_a_time(address: str) -> None:
    keys = [start(address) for _ in range(MOST_CAMERAS)]
    status, text = ask(f"{address}/cameras", data=b"", headers=OCTETS)
    assert (status, f"{MOST_CAMERAS} cameras are on" in text) == (503, True)
    ask(f"{address}/cameras/{keys[0]}", method="DELETE")
    start(address)


def test_a_camera_that_sends_nothing_ends() -> None:
    now = [100.0]
    cameras = Cameras(make_classifier(), clock=lambda: now[0])
    idle, used = cameras.start(), cameras.start()
    now[0] += IDLE_SECONDS - 1
    with cameras.take(used):
        pass
    now[0] += 2
    assert len(cameras) == 1
    with pytest.raises(RequestError, match="sent nothing for 30 s"), cameras.take(idle):
        pass
    with cameras.take(used):
        pass


def test_frames_of_one_camera_are_never_queued() -> None:
    cameras = Cameras(make_classifier())
    key = cameras.start()
    message = "still being read"
    with (
        cameras.take(key),
        pytest.raises(RequestError, match=message) as refused,
        cameras.take(key),
    ):
        pass
    assert refused.value.status == 409
    with cameras.take(key):
        pass


def test_the_server_answers_while_a_frame_is_read(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_reading, may_end = threading.Event(), threading.Event()

    def read(self: LiveReader, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
        is_reading.set()
        assert may_end.wait(10)
        return np.ones(3)

    monkeypatch.setattr(LiveReader, "read", read)
    key, found = start(address), []
    thread = threading.Thread(target=lambda: found.append(push(address, key, make_frames(1))))
    thread.start()
    assert is_reading.wait(10)
    assert ask(address)[0] == 200
    assert found == []
    may_end.set()
    thread.join()
    assert found[0][0] == 200


def test_a_net_without_finite_outputs_is_said_to_be_one() -> None:
    net = make_net()
    net.load_state_dict({**net.state_dict(), "readout.bias": torch.full((3,), torch.nan)})
    with run_server(make_app(make_classifier(net=net))) as address:
        status, text = push(address, start(address), make_frames(1))
    assert (status, json.loads(text)) == (
        500,
        {"error": "The net's outputs are not finite numbers."},
    )


def test_a_net_with_a_large_input_gets_large_frames() -> None:
    encoder = make_encoder()
    steps = replace(encoder.backbone.steps, scaled=(256, 518))
    backbone = replace(encoder.backbone, steps=steps)
    spec = replace(encoder.spec, preprocessing=str(steps))
    classifier = replace(make_classifier(), encoder=Encoder(backbone, spec))
    assert Cameras(classifier).most_side_pixels == 691
    assert Cameras(make_classifier()).most_side_pixels == 320


def test_no_frame_reaches_the_disk(address: str, tmp_path: Path) -> None:
    key = start(address)
    for frame in make_frames(3):
        assert push(address, key, frame)[0] == 200
    assert list_files(tmp_path) == []
