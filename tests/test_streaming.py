"""Streams: frame by frame as at once, a saveable state, and the very encoder of a run."""

from __future__ import annotations

import functools
import gc
import io
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from extract.encode import BatchEncoder
from extract.setup import prepare_encoder
from pipeline.backbones import Backbone, load_backbone
from pipeline.backbones.encoder import Encoder, load_encoder
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.features import FeatureSpec
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.spec import NETS, NetSpec
from pipeline.recurrent.spec import READOUTS as NET_READOUTS
from pipeline.recurrent.stepper import Stepper
from pipeline.runs import Provenance
from pipeline.streaming import Streamer
from pipeline.video import read_frames

READOUTS = [(name, readout) for name in NETS for readout in NET_READOUTS]
READOUTS = [(n, r) for n, r in READOUTS if NETS[n].cell != "none" or r == "last"]


def make_net(
    name: str, *, readout: str = "last", h0: str = "zero", inputs: int = 12, layers: int = 1
) -> SequenceNet:
    """A net whose biases and start are not zero, so that a forgotten one is seen."""
    sizes: dict[str, Any] = {} if NETS[name].cell == "none" else {"hidden_size": 10}
    spec = NetSpec(name, inputs, 5, readout=readout, h0=h0, layers=layers, **sizes)
    net = build_net(spec, seed=3).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if any(part in key for part in ("bias", "start", "original")):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return net


def read_prefixes(net: SequenceNet, features: NDArray[Any]) -> NDArray[Any]:
    """(T, C): the outputs of the first t frames, read at once, for every t."""
    with torch.inference_mode():
        read = [
            net(torch.from_numpy(features[None, :end]).float(), torch.tensor([end]))
            for end in range(1, len(features) + 1)
        ]
    outputs = [found[0, -1] if found.ndim == 3 else found[0] for found in read]
    return torch.stack(outputs).numpy()


def make_features(steps: int = 40, inputs: int = 12) -> NDArray[Any]:
    return np.random.default_rng(0).random((steps, inputs), dtype=np.float32)


@pytest.mark.parametrize(("name", "readout"), READOUTS)
def test_every_net_answers_each_frame_of_a_stream_as_the_clip_read_at_once(
    name: str, readout: str
) -> None:
    net, features = make_net(name, readout=readout), make_features()
    streamer = Streamer(net)
    streamed = np.stack([streamer.push_features(row) for row in features])
    # Both in float32, with sums in another order.
    np.testing.assert_allclose(streamed, read_prefixes(net, features), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NETS if name != "mean-pool"])
def test_a_learned_start_is_the_streams_start(name: str) -> None:
    net, features = make_net(name, h0="learned"), make_features(5)
    streamer = Streamer(net)
    streamed = np.stack([streamer.push_features(row) for row in features])
    np.testing.assert_allclose(streamed, read_prefixes(net, features), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", [2, 5])
@pytest.mark.parametrize("name", [name for name in NETS if name != "mean-pool"])
def test_a_deep_net_answers_each_frame_of_a_stream_as_the_clip_read_at_once(
    name: str, layers: int
) -> None:
    for readout in NET_READOUTS:
        net = make_net(name, readout=readout, h0="learned", layers=layers)
        features, streamer = make_features(12), Streamer(net)
        streamed = np.stack([streamer.push_features(row) for row in features])
        np.testing.assert_allclose(streamed, read_prefixes(net, features), rtol=5e-5, atol=5e-5)


@pytest.mark.parametrize("name", [name for name in NETS if name != "mean-pool"])
def test_a_bidirectional_net_has_no_stream(name: str) -> None:
    net = build_net(NetSpec(name, 12, 5, hidden_size=4, bidirectional=True), seed=0)
    with pytest.raises(ValueError, match=r"(?s)reads a sequence from its end.*bidirectional=false"):
        Streamer(net)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", sorted(NETS))
def test_the_stepper_equals_the_nets_own_step(name: str, layers: int) -> None:
    if NETS[name].cell == "none" and layers > 1:
        return
    net, features = make_net(name, layers=layers), make_features(6)
    stepper = Stepper(net)
    state, of_torch = stepper.initial_state(), net.initial_state(1)
    for row in features:
        outputs, state = stepper.step(row, state)
        with torch.inference_mode():
            expected, of_torch = net.step(torch.from_numpy(row)[None], of_torch)
        np.testing.assert_allclose(outputs, expected[0].numpy(), rtol=1e-5, atol=1e-5)
        for mine, theirs in ((state.hidden, of_torch.hidden), (state.cell, of_torch.cell)):
            np.testing.assert_allclose(mine, theirs[0].numpy(), rtol=1e-5, atol=1e-5)


def test_large_sums_neither_warn_nor_differ() -> None:
    net, features = make_net("lstm"), 500 * (make_features() - 0.5)
    streamer = Streamer(net)
    streamed = np.stack([streamer.push_features(row) for row in features])
    np.testing.assert_allclose(streamed, read_prefixes(net, features), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETS))
def test_a_saved_stream_goes_on_to_the_same_outputs(name: str) -> None:
    net, features = make_net(name), make_features(9)
    first = Streamer(net)
    outputs = [first.push_features(row) for row in features]
    half = Streamer(net)
    for row in features[:4]:
        half.push_features(row)
    kept = io.BytesIO()
    state_of_half: dict[str, Any] = half.state_dict()
    np.savez(kept, **state_of_half)
    kept.seek(0)
    other = Streamer(net)
    other.push_features(features[0])
    with np.load(kept) as state:
        other.load_state(state)
    assert other.num_frames == 4
    rest = [other.push_features(row) for row in features[4:]]
    np.testing.assert_array_equal(rest, outputs[4:])


def test_a_kept_state_is_not_changed_by_going_on() -> None:
    streamer, features = Streamer(make_net("lstm")), make_features(3)
    streamer.push_features(features[0])
    state = streamer.state_dict()
    before = {name: array.copy() for name, array in state.items()}
    streamer.push_features(features[1])
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array)


def test_a_state_of_another_net_is_refused() -> None:
    with pytest.raises(ValueError, match="of another net"):
        Streamer(make_net("np-rnn")).load_state(Streamer(make_net("lstm")).state_dict())


def test_a_reset_stream_starts_anew() -> None:
    streamer, features = Streamer(make_net("gru")), make_features(3)
    first = [streamer.push_features(row) for row in features]
    streamer.reset()
    np.testing.assert_array_equal([streamer.push_features(row) for row in features], first)


class MeanColour(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def make_encoder(*, stride: int = 1) -> Encoder:
    steps = Preprocessing("squash", (8, 8), (8, 8), "bilinear", (0.0,) * 3, (255.0,) * 3)
    backbone = Backbone("mean colour", MeanColour(), 3, "", "digest", steps, batch_frames=4)
    spec = FeatureSpec("mean colour", 3, weights_digest="digest", preprocessing=str(steps))
    return Encoder(backbone, replace(spec, stride=stride))


def make_frames(num: int = 7) -> NDArray[Any]:
    return np.random.default_rng(1).integers(0, 256, (num, 12, 10, 3), dtype=np.uint8)


@pytest.mark.parametrize("stride", [1, 3])
def test_frames_pushed_one_by_one_answer_as_their_stored_features_at_once(stride: int) -> None:
    net, frames, encoder = make_net("np-rnn", inputs=3), make_frames(), make_encoder(stride=stride)
    streamer = Streamer(net, encoder)
    streamed = np.stack([streamer.push(frame) for frame in frames])
    features = encoder.encode(frames[::stride])
    assert features.dtype == np.float16
    expected = read_prefixes(net, features).repeat(stride, axis=0)[: len(frames)]
    np.testing.assert_allclose(streamed, expected, rtol=1e-5, atol=1e-5)


def traced_growth(step: Callable[[], object], *, num_steps: int) -> int:
    """Bytes that Python and numpy still hold after `num_steps` calls, and did not before them."""

    def held_after(num: int) -> int:
        for _ in range(num):
            step()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        return -held_after(20) + held_after(num_steps)  # what is made once is there after 20
    finally:
        tracemalloc.stop()


# Kept arrays of one number a step come to 240,000 bytes; what Python and torch keep for reuse
# came to 20,000 at most.
NUM_STEPS, MOST_GROWTH = 2000, 60_000


def test_one_number_kept_a_step_is_seen_as_growth() -> None:
    kept: list[NDArray[Any]] = []
    grown = traced_growth(lambda: kept.append(np.ones(1, np.float32)), num_steps=NUM_STEPS)
    assert grown > 3 * MOST_GROWTH


@pytest.mark.parametrize(
    ("name", "readout"),
    [
        ("np-rnn", "last"),
        ("np-rnn", "mean"),
        ("np-rnn", "last-and-mean"),
        ("lstm", "all"),
        ("gru", "last"),
        ("mean-pool", "last"),
    ],
)
def test_the_memory_of_a_stream_of_features_does_not_grow(name: str, readout: str) -> None:
    streamer, features = Streamer(make_net(name, readout=readout)), make_features(1)[0]
    grown = traced_growth(lambda: streamer.push_features(features.copy()), num_steps=NUM_STEPS)
    assert grown < MOST_GROWTH
    assert streamer.num_frames >= NUM_STEPS


@pytest.mark.parametrize("stride", [1, 3])
def test_the_memory_of_a_stream_of_frames_does_not_grow(stride: int) -> None:
    streamer = Streamer(make_net("np-rnn", inputs=3), make_encoder(stride=stride))
    frame = make_frames(1)[0]
    grown = traced_growth(lambda: streamer.push(frame.copy()), num_steps=NUM_STEPS)
    assert grown < MOST_GROWTH


def test_warming_up_leaves_no_trace_in_a_stream() -> None:
    streamer, (frame, *_) = Streamer(make_net("np-rnn", inputs=3), make_encoder()), make_frames()
    expected = streamer.push(frame)
    streamer.reset()
    seconds = vars(streamer.seconds).copy()
    streamer.warm_up()
    assert streamer.num_frames == 0
    assert vars(streamer.seconds) == seconds
    np.testing.assert_array_equal(streamer.push(frame), expected)


def test_what_is_no_frame_or_no_features_is_refused() -> None:
    streamer = Streamer(make_net("np-rnn", inputs=3), make_encoder())
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\), found float32"):
        streamer.push(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"expected \(3,\), found \(4,\)"):
        streamer.push_features(np.zeros(4))
    with pytest.raises(ValueError, match="no encoder"):
        Streamer(make_net("np-rnn")).push(make_frames(1)[0])
    with pytest.raises(ValueError, match="of different runs"):
        Streamer(make_net("np-rnn"), make_encoder())


@functools.cache
def random_googlenet() -> Backbone:
    return load_backbone("googlenet", weights="random")


def make_spec(**changes: Any) -> FeatureSpec:
    """Of a run on googlenet features with random weights."""
    backbone = random_googlenet()
    spec = FeatureSpec(
        "googlenet", backbone.dim, weights="random", weights_digest=backbone.weights_digest,
        preprocessing=backbone.preprocessing, compute="float32 compiled",
    )  # fmt: skip
    return replace(spec, **changes)


def test_the_encoder_is_the_one_of_the_features() -> None:
    encoder = load_encoder(make_spec(), device="cpu")
    frames = np.random.default_rng(1).integers(0, 256, (2, 48, 64, 3), dtype=np.uint8)
    expected = random_googlenet().encode(torch.from_numpy(frames))
    # Folded norms, and the rounding to float16, in which features lie.
    np.testing.assert_allclose(encoder.encode(frames), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_digest": "f" * 32}, "weights_digest .* not ffff"),
        ({"preprocessing": "squash"}, "preprocessing .* not squash"),
        ({"weights": "mine.npz"}, "weights of a file, mine.npz.\nPass it: --weights FILE"),
        ({"weights_digest": ""}, "another program made"),
    ],
)
def test_another_encoder_than_the_runs_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_encoder(make_spec(**changes), device="cpu")


def test_a_run_that_read_no_videos_is_refused() -> None:
    with pytest.raises(ValueError, match="not trained on features of frames"):
        load_encoder(None)


def test_a_provenance_is_no_spec_and_the_message_says_what_is() -> None:
    with pytest.raises(ValueError, match=r"Write load_encoder\(run\.features\)"):
        load_encoder(Provenance(0, 0))  # type: ignore[arg-type]


def test_the_encoder_of_a_run_gives_the_very_bits_that_extract_stores(data_root: Path) -> None:
    weights = data_root / "weights" / "bvlc_googlenet.npz"
    video = data_root / "ucf101" / "Punch" / "v_Punch_g08_c01.avi"
    setup = prepare_encoder(
        "bvlc-googlenet", Path("no-store"), weights=str(weights), features="pool", stride=8,
        device="cpu", dtype="auto", batch_frames=None, num_workers=1,
    )  # fmt: skip
    chunks = list(read_frames(video, stride=8))
    with BatchEncoder(setup.backbone) as extracting:
        rows = [batch for chunk in chunks for batch in extracting.add(chunk)]
        stored = np.concatenate([*rows, *extracting.flush()]).astype(np.float16)
    encoder = load_encoder(setup.spec, weights=weights, device="cpu")
    np.testing.assert_array_equal(encoder.encode(np.concatenate(chunks)), stored)
    with pytest.raises(ValueError, match="not the one that the run was trained on"):
        load_encoder(setup.spec, weights="random", device="cpu")
