"""Backbones: features equal a reference net's, and depend on the frame alone."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor

from pipeline.backbones import load_backbone, prepare, resolve_dtype
from pipeline.backbones.bvlc_googlenet import ResponseNorm
from pipeline.backbones.of_timm import timm_preprocessing
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.backbones.weights import digest
from pipeline.devices import resolve_device


def draw_frames(num_frames: int, *, height: int = 60, width: int = 80, seed: int = 0) -> Tensor:
    """Seeded frames of smooth colour patches, each with its own look."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(num_frames, 3, 6, 8, generator=generator) * 255
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear")
    return smooth.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@pytest.fixture(scope="module")
def googlenet_state() -> dict[str, Tensor]:
    """A state dict as torchvision publishes it: with the two training heads."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False)
    for name, tensor in net.state_dict().items():
        if name.endswith("running_var"):
            tensor.fill_(0.15)  # what torch's own draw leaves of a signal, so that it stays alive
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


@pytest.fixture(scope="module")
def googlenet_file(
    googlenet_state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("weights") / "googlenet.pth"
    torch.save(googlenet_state, path)
    return path


@pytest.mark.parametrize("features", ["pool", "logits"])
def test_googlenet_from_a_file_equals_torchvision_with_transform_input(
    googlenet_state: dict[str, Tensor], googlenet_file: Path, features: str
) -> None:
    reference = torchvision.models.googlenet(
        weights=None, aux_logits=True, init_weights=False, transform_input=True
    )
    reference.load_state_dict(googlenet_state)
    if features == "pool":
        reference.fc = torch.nn.Identity()
    transforms = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.transforms()
    frames = draw_frames(2, height=256, width=256)
    with torch.no_grad():
        expected = reference.eval()(transforms(frames.permute(0, 3, 1, 2)))
    backbone = load_backbone("googlenet", weights=googlenet_file, features=features)
    found = prepare(backbone, batch_frames=2).encode(frames)
    # Float32 through 22 layers, with the norms folded into the convolutions.
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_downloaded_weights_and_the_same_from_files_have_one_digest(
    googlenet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
        assert hash_prefix == "1378be20", "the download must be checked by its digest"
        Path(dst).write_bytes(googlenet_file.read_bytes())

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    state = torch.load(googlenet_file, weights_only=True)
    safetensors.torch.save_file(state, tmp_path / "googlenet.safetensors")
    downloaded = load_backbone("googlenet")
    for file in (googlenet_file, tmp_path / "googlenet.safetensors"):
        assert load_backbone("googlenet", weights=file).weights_digest == downloaded.weights_digest
    assert downloaded.weights == "imagenet"


def test_a_failed_download_names_the_address_and_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_args: object, **_options: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ValueError, match=r"googlenet-1378be20\.pth(.|\n)*--weights FILE"):
        load_backbone("googlenet")


def test_weights_of_another_network_are_refused_by_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"layer1.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"missing: conv1\.(.|\n)*unexpected: layer1\.weight"):
        load_backbone("googlenet", weights=path)


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "code.pth"
    torch.save({"a": io.StringIO}, path)
    with pytest.raises(ValueError, match="state dict"):
        load_backbone("googlenet", weights=path)


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(b"no weights at all")
    for name in ("googlenet", "bvlc-googlenet", "timm/test_resnet"):
        with pytest.raises(ValueError, match="damaged"):
            load_backbone(name, weights=path)
        with pytest.raises(ValueError, match="there is no file"):
            load_backbone(name, weights=tmp_path / "absent.pth")


def test_an_npz_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, layer=np.zeros(1))
    assert zipfile.is_zipfile(path)
    with pytest.raises(ValueError, match="no array 'conv1/7x7_s2/weight'"):
        load_backbone("bvlc-googlenet", weights=path)


def test_bvlc_googlenet_sees_the_cat_as_caffe_does(data_root: Path) -> None:
    """The whole picture squashed to 224x224, as for video frames, gives Caffe's own numbers."""
    weights = data_root / "weights"
    words = (weights / "synset_words.txt").read_text().splitlines()
    cat = np.array(Image.open(weights / "cat.jpg").convert("RGB"))
    backbone = load_backbone(
        "bvlc-googlenet", weights=weights / "bvlc_googlenet.npz", features="logits"
    )
    outputs = prepare(backbone, batch_frames=1).encode(torch.from_numpy(cat)[None])
    shares, classes = outputs.softmax(dim=1)[0].topk(3)
    names = [words[int(index)].split(" ", 1)[1].split(",")[0] for index in classes]
    assert names == ["tiger cat", "Egyptian cat", "tabby"]
    assert shares.tolist() == pytest.approx([0.41, 0.27, 0.22], abs=0.006)


@pytest.mark.parametrize("num_channels", [3, 64])
def test_response_norm_equals_torchs_own(num_channels: int) -> None:
    x = torch.randn(2, num_channels, 5, 7, generator=torch.Generator().manual_seed(0)) * 200
    expected = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
    torch.testing.assert_close(ResponseNorm(num_channels)(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["googlenet", "bvlc-googlenet", "timm/test_resnet"])
def test_random_weights_are_alive_seeded_and_leave_the_global_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    first, again, other = (load_backbone(name, weights="random", seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.weights_digest == again.weights_digest != other.weights_digest
    frames = torch.cat([draw_frames(2), torch.zeros(1, 60, 80, 3, dtype=torch.uint8)])
    features = prepare(first, batch_frames=3).encode(frames)
    assert features.shape == (3, first.dim)
    assert bool(features.isfinite().all())
    assert 0.01 < float(features.std()) < 1000  # neither lost nor beyond float16
    gaps = torch.pdist(features) / features.norm(dim=1).mean()
    assert float(gaps.min()) > 0.05


def test_the_digest_is_of_names_and_bytes_alone() -> None:
    """A constant, so that it also holds between processes and versions."""
    net = torch.nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 2.0]]))
        net.bias.copy_(torch.tensor([3.0]))
    numbers = (
        b"bias",
        np.array([3], np.float32).tobytes(),
        b"weight",
        np.array([1, 2], np.float32).tobytes(),
    )
    assert digest(net) == hashlib.blake2b(b"".join(numbers), digest_size=16).hexdigest()
    renamed = torch.nn.Sequential(net)
    assert digest(renamed) != digest(net)


def test_features_of_a_frame_are_the_same_bits_whatever_the_batch() -> None:
    backbone = prepare(load_backbone("timm/test_resnet", weights="random"), batch_frames=4)
    seen: list[int] = []
    backbone.module.register_forward_pre_hook(lambda _net, inputs: seen.append(len(inputs[0])))
    frames = draw_frames(9)
    together = backbone.encode(frames)
    for start, end in ((0, 1), (3, 9), (8, 9), (2, 5)):
        assert torch.equal(backbone.encode(frames[start:end]), together[start:end])
    assert set(seen) == {4}  # kernels differ between batch sizes, so there is but one
    assert backbone.encode(frames[:0]).shape == (0, backbone.dim)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "resnet18"])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(120, 160), (160, 90), (3, 5)])
def test_preprocessing_equals_timms_own(name: str, mode: str, size: tuple[int, int]) -> None:
    model = timm.create_model(name, num_classes=0)
    config = resolve_data_config({"crop_mode": mode}, model=model)  # type: ignore[no-untyped-call]
    own = create_transform(**config)
    frames = draw_frames(2, height=size[0], width=size[1])
    expected = torch.stack([own(Image.fromarray(frame.numpy())) for frame in frames])
    steps = timm_preprocessing(model, crop_mode=mode)
    found = steps.normalise(steps.crop(frames))
    levels = (found - expected).abs() * torch.tensor(steps.std).view(1, 3, 1, 1)
    # Pillow and torch round after each of two passes; a crop one pixel off is 0.7 away on average.
    assert float(levels.max()) < 2.01
    assert float(levels.mean()) < 0.1


def test_timm_weights_from_a_file_lose_their_classifier(tmp_path: Path) -> None:
    random = load_backbone("timm/test_resnet", weights="random", features="logits")
    path = tmp_path / "resnet.pth"
    torch.save(random.module.state_dict(), path)
    pooled = load_backbone("timm/test_resnet", weights="random")
    found = load_backbone("timm/test_resnet", weights=path)
    assert (found.dim, random.dim) == (pooled.dim, 1000)
    with torch.no_grad():
        features = found.module(found.preprocess(draw_frames(1)))
        outputs = random.module(random.preprocess(draw_frames(1)))
        state = random.module.state_dict()
        torch.testing.assert_close(
            F.linear(features, state["fc.weight"], state["fc.bias"]), outputs
        )


def test_bfloat16_features_point_where_float32_ones_do() -> None:
    backbone = load_backbone("bvlc-googlenet", weights="random")
    frames = draw_frames(2)
    exact = prepare(backbone, batch_frames=2).encode(frames)
    rough = prepare(backbone, dtype="bfloat16", batch_frames=2).encode(frames)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert float(F.cosine_similarity(exact, rough).min()) > 0.999


def test_preparing_leaves_the_loaded_backbone_as_it_was() -> None:
    backbone = load_backbone("googlenet", weights="random")
    before = {name: tensor.clone() for name, tensor in backbone.module.state_dict().items()}
    prepare(backbone, dtype="bfloat16")
    after = backbone.module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_description_names_every_step() -> None:
    half = (127.5, 127.5, 127.5)
    steps = Preprocessing("short-side", (256, 256), (224, 224), "bilinear", half, half)
    assert str(steps) == (
        "short-side 256x256 bilinear antialias, centre crop 224x224, "
        "RGB 0-255 less (127.5, 127.5, 127.5) over (127.5, 127.5, 127.5)"
    )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("gogglenet", "googlenet"), ("bvlc", "bvlc-googlenet"), ("timm/resnet_18", "resnet18")],
)
def test_an_unknown_name_gets_the_nearest_one(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean {nearest}"):
        load_backbone(name, weights="random")


def test_frames_that_are_not_bytes_in_rows_are_refused() -> None:
    backbone = load_backbone("timm/test_resnet", weights="random")
    for frames in (torch.zeros(1, 8, 8, 3), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="expected uint8"):
            backbone.encode(frames)


def test_bvlc_googlenet_without_a_file_says_where_one_comes_from() -> None:
    with pytest.raises(ValueError, match=r"--weights FILE(.|\n)*model zoo"):
        load_backbone("bvlc-googlenet")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_a_device_is_refused_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="found only cpu(.|\n)*--device cpu"):
        resolve_device(name)
    assert resolve_device("auto") == "cpu"


def test_a_gpu_is_named_by_its_number_below_the_number_of_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ValueError, match="--device cuda:2: (.|\n)*found only cuda, cuda:0, cuda:1"):
        resolve_device("cuda:2")
    with pytest.raises(ValueError, match="expected one of auto, cpu, cuda, cuda:N, mps"):
        resolve_device("cuda1")


@pytest.mark.parametrize(("is_native", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_dtype_follows_the_processor(
    monkeypatch: pytest.MonkeyPatch, is_native: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: is_native)
    assert resolve_dtype("auto", "cpu") == expected
    assert resolve_dtype("float32", "cpu") == "float32"
    with pytest.raises(ValueError, match="Did you mean float32"):
        resolve_dtype("float23", "cpu")
