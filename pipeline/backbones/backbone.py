"""Frozen frame encoders, each with its own preprocessing: frames in, features (N, D) out."""

from __future__ import annotations

import copy
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.data.config import resolve_data_config
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.googlenet import BasicConv2d

from pipeline.backbones.bvlc_googlenet import BvlcGoogLeNet, caffe_state
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.backbones.weights import (
    NO_FILES,
    digest,
    draw,
    drawn_from,
    existing_file,
    fill,
    read_state,
)
from pipeline.choices import check_choice

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# On a CPU larger batches are slower: their tensors leave the caches and are mapped anew each time.
BATCH_FRAMES = {"cpu": 16, "cuda": 128, "mps": 128}


@dataclass(frozen=True)
class Backbone:
    """A frozen net, its preprocessing and the way it runs; `dim` features a frame.

    `weights` is what was asked for, `weights_digest` names the very numbers, `weights_file` is
    where they came from, None for those that were downloaded or drawn.
    """

    name: str
    module: nn.Module
    dim: int
    weights: str
    weights_digest: str
    steps: Preprocessing
    device: str = "cpu"
    dtype: str = "float32"
    batch_frames: int = BATCH_FRAMES["cpu"]
    compute: Callable[[Tensor], Tensor] | None = None  # set by `prepare`
    weights_file: Path | None = None

    @property
    def preprocessing(self) -> str:
        return str(self.steps)

    def preprocess(self, frames: Tensor) -> Tensor:
        """The net's input (N, 3, h, w), float32, of uint8 frames (N, H, W, 3)."""
        return self.steps.normalise(self.steps.crop(frames))

    def crop(self, frames: Tensor) -> Tensor:
        """uint8 crops (N, 3, h, w), on the backbone's device, of uint8 frames (N, H, W, 3)."""
        return self.steps.crop(frames.to(self.device, non_blocking=True))

    def encode(self, frames: Tensor) -> Tensor:
        """Features (N, D), float32, of uint8 frames (N, H, W, 3), on the backbone's device."""
        return self.encode_crops(self.crop(frames))

    @torch.no_grad()
    def encode_crops(self, crops: Tensor) -> Tensor:
        """Features (N, D), float32, of what `crop` gave.

        The net always sees `batch_frames` frames, the last batch filled up with black ones:
        the bits of a frame's features depend on that frame alone.
        """
        compute = self.compute or _compute(self.module, self.steps, dtype=self.dtype)
        features = []
        for batch in torch.split(crops, self.batch_frames) if len(crops) else ():
            filled = F.pad(batch, (0, 0, 0, 0, 0, 0, 0, self.batch_frames - len(batch)))
            filled = filled.contiguous(memory_format=torch.channels_last)
            features.append(compute(filled)[: len(batch)].clone())
        return torch.cat(features) if features else torch.empty(0, self.dim, device=self.device)


def _compute(module: nn.Module, steps: Preprocessing, *, dtype: str) -> Callable[[Tensor], Tensor]:
    def compute(crops: Tensor) -> Tensor:
        features: Tensor = module(steps.normalise(crops).to(DTYPES[dtype]))
        return features.float()

    return compute


def load_backbone(
    name: str, *, weights: str | Path = "imagenet", features: str = "pool", seed: int = 0
) -> Backbone:
    """The backbone `googlenet`, `bvlc-googlenet` or `timm/<name>`, on the CPU in float32.

    `weights` is `imagenet` (downloaded; the only one that needs a network), `random` (drawn
    from `seed`) or a file. `features` is `pool` (before the classifier) or `logits`.
    """
    check_choice("--features", features, ["pool", "logits"])
    with_classifier = features == "logits"
    if name.startswith("timm/"):
        module, steps = _load_timm(name.removeprefix("timm/"), str(weights), with_classifier, seed)
    else:
        named = f"timm/{name}" if timm.is_model(name) else "timm/<name>"
        check_choice("--backbone", name, [*LOADERS, named])
        module, steps = LOADERS[name](str(weights), with_classifier, seed)
    module = module.eval().requires_grad_(False)
    with torch.no_grad():
        dim = module(torch.zeros(1, 3, *steps.size)).shape[1]
    file = None if str(weights) in NO_FILES else Path(weights)
    asked = str(weights) if file is None else file.name
    return Backbone(name, module, dim, asked, digest(module), steps, weights_file=file)


def _load_googlenet(
    weights: str, with_classifier: bool, seed: int
) -> tuple[nn.Module, Preprocessing]:
    with drawn_from(seed):
        net = torchvision.models.googlenet(weights=None, aux_logits=False, init_weights=False)
    if not with_classifier:
        net.fc = nn.Identity()
    # The ImageNet weights expect torchvision's transform_input: mean and std of one half.
    half = (127.5, 127.5, 127.5)
    steps = Preprocessing("short-side", (256, 256), (224, 224), "bilinear", half, half)
    ignored = ("aux1.", "aux2.") if with_classifier else ("aux1.", "aux2.", "fc.")
    if weights == "random":
        draw(net, seed)
    elif weights == "imagenet":
        fill(net, _download_googlenet(), source="ImageNet weights", ignored=ignored)
    else:
        fill(net, read_state(weights), source=weights, ignored=ignored)
    return net, steps


def _download_googlenet() -> Mapping[str, Tensor]:
    chosen = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1
    try:
        state: Mapping[str, Tensor] = chosen.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"The ImageNet weights of googlenet could not be fetched from {chosen.url}: {error}.\n"
            "Fetch that file on a machine with a network and pass --weights FILE."
        ) from error
    return state


def _load_bvlc(weights: str, with_classifier: bool, seed: int) -> tuple[nn.Module, Preprocessing]:
    if weights == "imagenet":
        raise ValueError(
            "bvlc-googlenet has no weights to download by itself.\n"
            "Pass --weights FILE, an npz of the arrays of bvlc_googlenet.caffemodel (Caffe model "
            "zoo: models/bvlc_googlenet) named <layer>/weight and <layer>/bias."
        )
    with drawn_from(seed):
        net = BvlcGoogLeNet(with_classifier=with_classifier)
    ones = (1.0, 1.0, 1.0)
    # The whole frame, as Caffe's own example feeds the cat: the mean is its BGR (104, 117, 123).
    steps = Preprocessing("squash", (224, 224), (224, 224), "bilinear", (123.0, 117.0, 104.0), ones)
    if weights == "random":
        draw(net, seed)
        return net, steps
    try:
        with np.load(existing_file(weights), allow_pickle=False) as arrays:
            state = caffe_state({key: torch.from_numpy(arrays[key]) for key in arrays.files})
    except KeyError as error:
        raise ValueError(
            f"{weights}: no array {error}.\nExpected an npz with the arrays of "
            "bvlc_googlenet.caffemodel named <layer>/weight and <layer>/bias."
        ) from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{weights} is not an npz of plain arrays: {error}.") from error
    fill(net, state, source=weights, ignored=() if with_classifier else ("classifier.",))
    return net, steps


LOADERS = {"googlenet": _load_googlenet, "bvlc-googlenet": _load_bvlc}


def _load_timm(
    name: str, weights: str, with_classifier: bool, seed: int
) -> tuple[nn.Module, Preprocessing]:
    if not timm.is_model(name):
        check_choice("--backbone timm/<name>", name, timm.list_models())
    options: dict[str, Any] = {} if with_classifier else {"num_classes": 0}
    try:
        with drawn_from(seed):
            net: Any = timm.create_model(name, pretrained=weights == "imagenet", **options)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"The ImageNet weights of timm/{name} could not be had: {error}.\n"
            "Pass --weights FILE with a state dict of that model."
        ) from error
    if weights not in ("imagenet", "random"):
        heads = net.pretrained_cfg.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else heads
        ignored = () if with_classifier else tuple(f"{head}." for head in heads)
        fill(net, read_state(weights), source=weights, ignored=ignored)
    return net, timm_preprocessing(net)


def timm_preprocessing(net: nn.Module, **changes: str) -> Preprocessing:
    """The steps of timm's own evaluation transform for `net`, its data config with `changes`."""
    config: dict[str, Any] = resolve_data_config(changes, model=net)  # type: ignore[no-untyped-call]
    size = (config["input_size"][1], config["input_size"][2])
    return Preprocessing(
        "short-side" if config["crop_mode"] == "center" else config["crop_mode"],
        (math.floor(size[0] / config["crop_pct"]), math.floor(size[1] / config["crop_pct"])),
        size,
        config["interpolation"],
        tuple(255 * value for value in config["mean"]),
        tuple(255 * value for value in config["std"]),
    )


def prepare(
    backbone: Backbone,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
    batch_frames: int | None = None,
) -> Backbone:
    """The same backbone on `device` in `dtype`, `batch_frames` frames at a time; fast.

    `compiled` costs up to half a minute at the first `encode`, and needs a C++ compiler on a CPU.
    """
    check_choice("--dtype", dtype, DTYPES)
    if compiled and device == "cpu":
        _check_compiler()
    module = _fold_norms(copy.deepcopy(backbone.module))
    module = module.to(device=device, dtype=DTYPES[dtype]).to(memory_format=torch.channels_last)
    compute = _compute(module, backbone.steps, dtype=dtype)
    if compiled:
        # Threads wait for each other where Python stands between the kernels.
        options: Any = {"cpp_wrapper": True} if device == "cpu" else None
        compute = torch.compile(compute, dynamic=False, options=options)
    return replace(
        backbone,
        module=module,
        device=device,
        dtype=dtype,
        batch_frames=batch_frames or BATCH_FRAMES[torch.device(device).type],
        compute=compute,
    )


def resolve_dtype(dtype: str, device: str) -> str:
    """`float32` or `bfloat16`; `auto` takes bfloat16 where the device computes in it natively."""
    check_choice("--dtype", dtype, ["auto", *DTYPES])
    if dtype != "auto":
        return dtype
    if device == "cpu":
        is_native = torch.cpu._is_avx512_bf16_supported()
    else:
        is_cuda = torch.device(device).type == "cuda"
        is_native = is_cuda and torch.cuda.get_device_capability(device) >= (8, 0)
    return "bfloat16" if is_native else "float32"


def has_compiler() -> bool:
    """Whether there is the C++ compiler that compiling a backbone for a CPU needs."""
    found = [os.environ.get("CXX"), "g++", "clang++", "cl"]
    return any(shutil.which(name) for name in found if name)


def _check_compiler() -> None:
    if not has_compiler():
        raise ValueError(
            "Compiling the backbone needs a C++ compiler, and none was found (CXX, g++, clang++).\n"
            "Install one, or run without compilation."
        )


def _fold_norms(module: nn.Module) -> nn.Module:
    """`module` with each batch norm of torchvision's GoogLeNet folded into its convolution."""
    for layer in module.modules():
        if isinstance(layer, BasicConv2d):
            layer.conv, layer.bn = fuse_conv_bn_eval(layer.conv, layer.bn), nn.Identity()
    return module
