"""Exported nets answer as the run's net does, and say what they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from eval.__main__ import main
from pipeline.features import FeatureSpec
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.spec import NETS, NetSpec
from pipeline.runs import load_net, load_run, save_weights
from pipeline.sequences import SequenceBatch
from tests.tiny_runs import LABELS, toy_section, write_run, write_store, write_toy_run

onnx = pytest.importorskip("onnx", reason='needs pip install -e ".[export]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install -e ".[export]"')

from eval.export.export import export_run  # noqa: E402
from eval.export.exported import OnnxStep, compare_steps, compare_whole, excess, read_whole  # noqa: E402
from eval.export.graphs import build_step, build_whole  # noqa: E402
from eval.export.quantise import count_loss, quantise  # noqa: E402

GATED = ("lstm", "gru", "min-gru", "co-rnn", "lru")
SPECS = [
    *(NetSpec(name, 6, 5) for name in NETS if name != "mean-pool"),
    *(
        NetSpec(name, 6, 5, readout=readout, h0="learned")
        for name in ("np-rnn", "np-tanh-rnn", "orthogonal-rnn", *GATED)
        for readout in ("mean", "last-and-mean")
    ),
    NetSpec("mean-pool", 6, 5),
    *(
        NetSpec(name, 6, 5, readout=readout, h0=h0, layers=layers, bidirectional=bidirectional)
        for name in ("np-rnn", "np-tanh-rnn", "orthogonal-rnn", *GATED)
        for layers, bidirectional, readout, h0 in (
            (3, False, "last-and-mean", "learned"),
            (1, True, "mean", "zero"),
            (2, True, "last", "learned"),
        )
    ),
]


def make_net(spec: NetSpec) -> SequenceNet:
    """A net none of whose numbers is 0: gates, biases and learned states all have a say."""
    if spec.kind.cell != "none":
        spec = replace(spec, hidden_size=7)
    net = build_net(spec, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    state = {
        name: 0.8 * tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in net.state_dict().items()
    }
    net.load_state_dict(state)
    return net.requires_grad_(False)


def make_batch() -> SequenceBatch:
    """Three sequences of 9, 4 and 1 steps, in padding that is not zero."""
    features = torch.randn(3, 9, 6, generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([9, 4, 1])
    features[torch.arange(9) >= lengths[:, None]] = 50.0
    return SequenceBatch(features, lengths, torch.tensor([0, 1, 2]), torch.arange(3))


def name_spec(spec: NetSpec) -> str:
    return f"{spec.name}-{spec.readout}-{spec.h0}-{spec.layers}x{spec.num_directions}"


@pytest.mark.parametrize("spec", SPECS, ids=name_spec)
def test_both_graphs_give_the_outputs_of_torch_for_every_net(spec: NetSpec) -> None:
    net, batch = make_net(spec), make_batch()
    found = read_whole(build_whole(net), [batch])
    # float32 sums in another order
    np.testing.assert_allclose(found, net(batch.features, batch.lengths), atol=5e-6, rtol=1e-5)
    if spec.bidirectional:
        with pytest.raises(ValueError, match="reads a sequence from its end"):
            build_step(net)
        return
    step, state = OnnxStep(build_step(net), net), net.initial_state(3)
    carried = step.start(3)
    for features_t in batch.features[:, :4].unbind(1):
        outputs, carried = step.step(features_t.numpy(), carried)
        wanted, state = net.step(features_t, state)
        np.testing.assert_allclose(outputs, wanted, atol=5e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["np-rnn", "lstm", "lru", "mean-pool"])
def test_the_comparison_finds_a_wrong_weight_in_either_graph(name: str) -> None:
    net, batch = make_net(NetSpec(name, 6, 5)), make_batch()
    step, whole = build_step(net), build_whole(net)
    assert compare_whole(whole, net, batch) <= 1
    assert compare_steps(step, net, batch) <= 1
    bent = make_net(net.spec)
    with torch.no_grad():
        bent.readout.bias[0] += 1e-3
    assert compare_whole(whole, bent, batch) > 1
    assert compare_steps(step, bent, batch) > 1


def test_the_allowed_difference_grows_with_the_outputs_and_nan_is_never_allowed() -> None:
    one = np.ones(3, np.float32)
    assert excess(one + np.float32(2e-5), one) > 1
    assert excess(300 * one + np.float32(2e-4), 300 * one) < 1
    assert excess(one * np.float32("nan"), one) == float("inf")


def test_eight_bits_are_smaller_and_their_answers_stay_close() -> None:
    net = build_net(NetSpec("np-rnn", 256, 5), seed=0).eval()
    step = build_step(net)
    small = quantise(step)
    assert small.ByteSize() < 0.3 * step.ByteSize()
    features: NDArray[np.float32] = np.random.default_rng(0).random((20, 256), dtype=np.float32)
    wanted, found = (OnnxStep(model, net).read(features) for model in (step, small))
    assert 0 < np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_the_loss_counts_changed_lost_and_won_answers() -> None:
    answers, targets = np.array([0, 1, 2, 0]), np.array([0, 1, 0, 1])
    loss = count_loss(answers, np.array([0, 2, 0, 2]), targets)
    assert (loss.accuracy, loss.accuracy_8bit, loss.num_clips) == (0.5, 0.5, 4)
    assert (loss.num_changed, loss.num_lost, loss.num_won) == (3, 1, 1)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", write_store(tmp_path / "features" / "tiny"), model="np-rnn")
    return tmp_path / "run"


def test_the_command_writes_files_that_answer_and_describe_themselves(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--run", str(run)]) == 0
    said = capsys.readouterr().out
    assert "72 test clips" not in said
    assert "on 36 test clips" in said
    names = {path.name for path in (run / "export").iterdir()}
    assert names == {"step.onnx", "clip.onnx", "step-int8.onnx", "export.json"}
    session = onnxruntime.InferenceSession(run / "export" / "clip.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["labels"]) == list(LABELS)
    assert (told["net"], told["backbone"]) == ("np-rnn", "tiny")
    calibration = json.loads((run / "calibration.json").read_text())
    assert float(told["temperature"]) == calibration["temperature"]
    features = np.random.default_rng(0).normal(size=(1, 5, 6)).astype(np.float32)
    (outputs,) = session.run(None, {"features": features, "lengths": np.array([5])})
    with torch.no_grad():
        wanted = load_net(load_run(run))(torch.from_numpy(features), torch.tensor([5]))
    np.testing.assert_allclose(outputs, wanted, atol=1e-5)


def test_a_net_that_answers_differently_is_refused_and_nothing_is_written(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = build_net(load_run(run).config.net, seed=5).eval()
    monkeypatch.setattr("eval.export.export.build_whole", lambda net: build_whole(other))
    assert main(["export", "--run", str(run)]) == 2
    assert "gives other outputs than torch" in capsys.readouterr().err
    assert not (run / "export").exists()


def test_a_learned_first_state_is_told_to_the_step_net(tmp_path: Path) -> None:
    write_run(tmp_path / "run", write_store(tmp_path / "features" / "tiny"), model="lstm")
    run = load_run(tmp_path / "run")
    spec = replace(run.config.net, h0="learned", hidden_size=7)
    net = make_net(spec)
    run = replace(run, config=replace(run.config, net=spec))
    save_weights(run.folder, net)
    export = export_run(run)
    model = onnx.load(export.folder / "step.onnx")
    told = {entry.key: entry.value for entry in model.metadata_props}
    start = json.loads(told["initial_state"])
    np.testing.assert_allclose(start["hidden"], net.start[0])
    np.testing.assert_allclose(start["cell"], net.start[1])


def test_a_bidirectional_run_has_no_step_to_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "features" / "tiny")
    write_run(tmp_path / "run", store, model="lstm", bidirectional=True)
    assert main(["export", "--run", str(tmp_path / "run")]) == 0
    written = {path.name for path in (tmp_path / "run" / "export").iterdir()}
    assert written == {"clip.onnx", "export.json"}
    said = capsys.readouterr().out
    assert "8-bit step net: not written, a bidirectional net has no step" in said


def test_a_run_that_gives_no_class_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_toy_run(tmp_path / "toy", toy_section("addition", length=30))
    assert main(["export", "--run", str(tmp_path / "toy")]) == 2
    assert "expected a net that gives a sequence one class" in capsys.readouterr().err


def test_weights_without_the_backbone_are_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--run", str(run), "--weights", "x.npz"]) == 2
    assert "add --with-backbone" in capsys.readouterr().err


def test_without_onnx_the_message_says_how_to_install_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eval.commands.export.find_spec", lambda name: None)
    assert main(["export", "--run", str(run)]) == 2
    assert 'pip install -c constraints.txt -e ".[export]"' in capsys.readouterr().err


def test_the_backbone_of_the_run_is_exported_and_another_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason='needs pip install -e ".[export]"')
    from eval.export.encoder_graph import build_encoder  # noqa: PLC0415
    from pipeline.backbones import load_backbone  # noqa: PLC0415

    backbone = load_backbone("timm/test_resnet", weights="random")
    spec = FeatureSpec(
        backbone=backbone.name, dim=backbone.dim, weights="random",
        weights_digest=backbone.weights_digest, preprocessing=backbone.preprocessing,
    )  # fmt: skip
    model, worst = build_encoder(spec, weights=None)
    assert worst <= 1
    frames = torch.randint(256, (3, 120, 200, 3), dtype=torch.uint8)
    crops = backbone.crop(frames).permute(0, 2, 3, 1).contiguous().numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"crops": crops})
    np.testing.assert_allclose(found, backbone.encode(frames), atol=1e-5)
    other = replace(spec, weights_digest="0" * 32)
    with pytest.raises(ValueError, match="not the one that the run was trained on"):
        build_encoder(other, weights=None)
