"""Encoders in 8 bits: made of a store's first clips once, the same for all that goes on."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from extract import calibrate
from extract.__main__ import main
from extract.calibrate import NUM_FRAMES, check_features, prepare_int8, read_crops
from pipeline.backbones import Backbone, int8, load_backbone, prepare
from pipeline.backbones.bvlc_googlenet import ResponseNorm
from pipeline.backbones.encoder import load_encoder
from pipeline.backbones.int8 import check_int8, load_int8, read_int8
from pipeline.features import INT8_FILE, FeatureStore, read_spec, read_weights_place
from pipeline.files import digest_file
from pipeline.video import read_frames
from tests.tiny_clips import write_clips

_MISSING = [name for name in ("openvino", "nncf") if find_spec(name) is None]
_NET = "timm/resnet10t"  # small: seconds to calibrate
needs_int8 = pytest.mark.skipif(
    bool(_MISSING) or not torch.cpu._is_vnni_supported(),
    reason=f"{' and '.join(_MISSING) or 'VNNI'} missing: nothing computes in 8 bits here",
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("videos"), num=4, num_frames=12)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone(_NET, weights="random")


def extract(videos: Path, out: Path, *options: str, dtype: str = "int8") -> int:
    words = ["--videos", videos, "--out", out, "--weights", "random", "--backbone", _NET]
    return main([*map(str, words), "--dtype", dtype, "--device", "cpu", *options])


@pytest.fixture(scope="module")
def store(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stores") / "whole"
    assert extract(videos, out) == 0
    return out


def read_features(store: Path) -> dict[str, np.ndarray]:
    opened = FeatureStore(store)
    return {clip_id: opened.read(clip_id) for clip_id in opened.records}


@needs_int8
def test_the_same_videos_give_the_same_encoder_and_features(
    store: Path, videos: Path, tmp_path: Path
) -> None:
    assert extract(videos, tmp_path / "again") == 0
    assert (tmp_path / "again" / INT8_FILE).read_bytes() == (store / INT8_FILE).read_bytes()
    first, again = read_features(store), read_features(tmp_path / "again")
    assert first.keys() == again.keys()
    for clip_id, features in first.items():
        np.testing.assert_array_equal(again[clip_id], features)


@needs_int8
def test_a_trial_that_goes_on_keeps_its_encoder_and_gives_the_same_features(
    store: Path, videos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "store"
    assert extract(videos, out, "--limit", "1") == 0
    before = digest_file(out / INT8_FILE)
    assert len(FeatureStore(out).records) == 1
    assert extract(videos, out, dtype="auto") == 0  # goes on as it was begun
    assert digest_file(out / INT8_FILE) == before
    for clip_id, features in read_features(store).items():
        np.testing.assert_array_equal(read_features(out)[clip_id], features)


@needs_int8
def test_clips_that_come_later_do_not_change_the_encoder(store: Path, tmp_path: Path) -> None:
    out = shutil.copytree(store, tmp_path / "store")
    more = write_clips(tmp_path / "more", num=8, num_frames=12)
    before = digest_file(out / INT8_FILE)
    assert extract(more, out) == 0
    assert digest_file(out / INT8_FILE) == before
    assert len(FeatureStore(out).records) == 8


@needs_int8
def test_the_spec_says_what_the_encoder_was_made_of(store: Path) -> None:
    spec = read_spec(store)
    digest = digest_file(store / INT8_FILE)[:16]
    assert spec.is_int8
    assert spec.compute.startswith("int8 with ")
    # 12, 13, 14 and 15 frames a clip: every tenth gives two.
    assert spec.compute.endswith(f"calibrated on 8 frames of 4 clips, model {digest}")
    assert {"openvino", "nncf"} <= set(spec.versions)


@needs_int8
@pytest.mark.parametrize(("first", "then"), [("float32", "int8"), ("int8", "float32")])
def test_features_of_another_arithmetic_are_refused(
    first: str, then: str, store: Path, videos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "store"
    if first == "int8":
        shutil.copytree(store, out)
    else:
        assert extract(videos, out, dtype=first) == 0
    assert extract(videos, out, dtype=then) == 2
    told = capsys.readouterr().err
    assert f"compute={first}" in told
    assert f", not {then}" in told
    assert (out / INT8_FILE).exists() == (first == "int8")


@needs_int8
def test_an_encoder_of_other_ranges_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(store, tmp_path / "store")
    (out / INT8_FILE).unlink()
    others = write_clips(tmp_path / "others", num=2, num_frames=30)
    assert extract(others, out) == 2
    told = capsys.readouterr().err
    assert "calibrated on 8 frames of 4 clips" in told
    assert "calibrated on 7 frames of 2 clips" in told


@needs_int8
@pytest.mark.parametrize("is_missing", [True, False])
def test_an_encoder_that_is_lost_or_damaged_is_found_and_made_again(
    is_missing: bool, store: Path, videos: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = shutil.copytree(store, tmp_path / "store")
    assert main(["verify", str(out)]) == 0
    content = bytearray((out / INT8_FILE).read_bytes())
    content[-1] ^= 1
    (out / INT8_FILE).write_bytes(content)
    if is_missing:
        (out / INT8_FILE).unlink()
    else:
        assert extract(videos, out) == 2
        assert "Delete it and run the same" in capsys.readouterr().err
    assert main(["verify", str(out)]) == 1
    assert f"{INT8_FILE} is {'missing' if is_missing else 'damaged'}" in capsys.readouterr().out
    (out / INT8_FILE).unlink(missing_ok=True)
    assert extract(videos, out) == 0
    assert main(["verify", str(out)]) == 0
    assert digest_file(out / INT8_FILE) == digest_file(store / INT8_FILE)


@needs_int8
def test_an_encoder_of_other_weights_is_refused(store: Path, backbone: Backbone) -> None:
    other = replace(backbone, weights_digest="0" * 32)
    with pytest.raises(ValueError, match="the 8-bit encoder of another backbone: weights_digest"):
        prepare_int8(other, store, [], features="pool")


@needs_int8
def test_features_point_where_float32_ones_do(
    store: Path, videos: Path, backbone: Backbone
) -> None:
    fast, _ = load_int8(store / INT8_FILE)
    frames = torch.from_numpy(next(iter(read_frames(next(videos.rglob("*.avi")), chunk_frames=10))))
    features, expected = fast.encode(frames), prepare(backbone).encode(frames)
    assert features.shape == expected.shape
    assert features.dtype == torch.float32
    cosines = F.cosine_similarity(features, expected)
    assert float(cosines.min()) > 0.99
    assert not torch.equal(features, expected)


@needs_int8
def test_the_frames_of_a_batch_have_the_bits_they_have_alone(store: Path) -> None:
    fast, _ = load_int8(store / INT8_FILE)
    frames = torch.randint(
        0, 256, (5, 48, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    together = fast.encode(frames)
    for place in range(len(frames)):
        torch.testing.assert_close(
            fast.encode(frames[place : place + 1])[0], together[place], rtol=0, atol=0
        )


@needs_int8
def test_the_encoder_of_a_run_gives_the_bits_that_the_store_holds(
    store: Path, videos: Path
) -> None:
    place = read_weights_place(store)
    assert place is not None
    encoder = load_encoder(read_spec(store), weights=place.locate(store), device="cpu")
    clip_id = "v_Punch_g01_c01"
    chunks = list(read_frames(videos / "Punch" / f"{clip_id}.avi"))
    expected = FeatureStore(store).read(clip_id)
    np.testing.assert_array_equal(encoder.encode(np.concatenate(chunks)), expected)


@needs_int8
def test_a_run_is_not_read_by_another_encoder(store: Path, tmp_path: Path) -> None:
    spec = read_spec(store)
    with pytest.raises(ValueError, match=f"Pass it: --weights {INT8_FILE}"):
        load_encoder(spec, device="cpu")
    with pytest.raises(ValueError, match="not an 8-bit encoder"):
        load_encoder(spec, weights="random", device="cpu")
    with pytest.raises(ValueError, match="not the one that the run was trained on"):
        other = replace(spec, compute=spec.compute[:-1] + "x")
        load_encoder(other, weights=store / INT8_FILE, device="cpu")
    damaged = tmp_path / INT8_FILE
    damaged.write_bytes((store / INT8_FILE).read_bytes()[:-100])
    with pytest.raises(ValueError, match="not an 8-bit encoder, or is damaged"):
        load_encoder(spec, weights=damaged, device="cpu")


@needs_int8
def test_bfloat16_between_is_refused_where_the_processor_lacks_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Core:
        def get_property(self, *_: str) -> list[str]:
            return ["FP32", "INT8"]

    with pytest.raises(ValueError, match="which this processor does not have"):
        int8._check_between(Core(), "bfloat16")
    assert int8._check_between(Core(), "float32") == "f32"


@needs_int8
def test_nothing_that_sends_usage_data_is_imported(store: Path) -> None:
    assert "openvino" in sys.modules
    assert "openvino_telemetry" not in sys.modules


@needs_int8
def test_bvlc_googlenets_norm_is_the_operators() -> None:
    from pipeline.backbones import calibration  # noqa: PLC0415

    calibration._define_norm()
    norm = ResponseNorm(64)
    x = 100 * torch.randn(2, 64, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(calibration._NativeNorm(norm)(x), norm(x), rtol=1e-5, atol=1e-5)


@needs_int8
def test_real_frames_in_8_bits_point_where_float32_ones_do(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "NUM_FRAMES", 60)  # faster
    weights = data_root / "weights" / "bvlc_googlenet.npz"
    backbone = load_backbone("bvlc-googlenet", weights=weights)
    clips = sorted((data_root / "ucf101").rglob("*.avi"))
    fast, _ = prepare_int8(backbone, tmp_path, clips[::20], features="pool")
    assert read_int8(tmp_path / INT8_FILE).name == "bvlc-googlenet"
    chunks = [next(iter(read_frames(path, stride=20, chunk_frames=2))) for path in clips[5::20]]
    frames = [torch.from_numpy(chunk) for chunk in chunks]
    features = torch.cat([fast.encode(chunk) for chunk in frames])
    exact = prepare(backbone)
    expected = torch.cat([exact.encode(chunk) for chunk in frames])
    cosines = F.cosine_similarity(features, expected)
    assert float(cosines.median()) > 0.999
    assert float(cosines.min()) > 0.995


@pytest.mark.parametrize(
    ("device", "missing", "has_vnni", "told"),
    [
        ("cuda", (), True, "found the device cuda.\nPass --device cpu"),
        ("cpu", ("nncf",), True, r'need nncf, which .*\n.*-e "\.\[openvino\]"'),
        ("cpu", ("openvino", "nncf"), True, "need openvino and nncf, which"),
        ("cpu", (), False, "need a processor with 8-bit dot products"),
    ],
)
def test_8_bits_are_refused_where_they_cannot_be_computed(
    device: str, missing: tuple[str, ...], has_vnni: bool, told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(int8, "find_spec", lambda name: None if name in missing else name)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: has_vnni)
    with pytest.raises(ValueError, match=told):
        check_int8(device)


def test_a_refused_8_bit_extraction_says_what_to_install_and_leaves_no_folder(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(int8, "find_spec", lambda name: None)
    assert extract(videos, tmp_path / "store") == 2
    assert '-e ".[openvino]"' in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_ranges_are_of_frames_over_all_clips_in_the_order_of_their_paths(
    videos: Path, backbone: Backbone
) -> None:
    clips = sorted(videos.rglob("*.avi"))
    crops, num_clips = read_crops(backbone, clips)
    assert (len(crops), num_clips) == (8, 4)
    again, _ = read_crops(backbone, [*reversed(clips), videos / "Punch" / "gone.avi"])
    assert torch.equal(again, crops)
    assert NUM_FRAMES == 300


def test_clips_of_which_none_decodes_give_no_ranges(tmp_path: Path, backbone: Backbone) -> None:
    with pytest.raises(ValueError, match=r"none of 1 clips can be decoded, such as .*gone\.avi"):
        read_crops(backbone, [tmp_path / "gone.avi"])


def test_a_net_that_8_bits_change_too_much_is_refused(backbone: Backbone) -> None:
    crops = torch.randint(
        0, 256, (3, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    exact = prepare(backbone).encode_crops(crops)
    check_features(lambda _: 2 * exact, backbone, crops)
    with pytest.raises(ValueError, match=r"timm/resnet10t too much: their median cosine .* is 0\."):
        check_features(lambda _: exact.roll(1, dims=1), backbone, crops)
