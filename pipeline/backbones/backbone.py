"""Frozen frame encoders, each with its own preprocessing: frames in, features (N, D) out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.backbones.compiling import check_compiler, keep_code
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.backbones.weights import NO_FILES, digest
from pipeline.choices import check_choice

# The libraries of nets are imported where a net of theirs is made: some take seconds.
# ruff: noqa: PLC0415

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
    module, steps = _find_loader(name)(str(weights), with_classifier, seed)
    module = module.eval().requires_grad_(False)
    dim = getattr(module, "dim_of_features", None) or _find_dim(module, steps)
    file = None if str(weights) in NO_FILES else Path(weights)
    asked = str(weights) if file is None else file.name
    return Backbone(name, module, dim, asked, digest(module), steps, weights_file=file)


@torch.no_grad()
def _find_dim(module: nn.Module, steps: Preprocessing) -> int:
    """The features a frame of a net that does not tell: a tenth of a second's work."""
    dim: int = module(torch.zeros(1, 3, *steps.size)).shape[1]
    return dim


_Loader = Callable[[str, bool, int], tuple[nn.Module, Preprocessing]]


def _find_loader(name: str) -> _Loader:
    """How the backbone's net is made; ValueError for a name that none has."""
    if name == "bvlc-googlenet":
        from pipeline.backbones.bvlc_googlenet import load_bvlc

        return load_bvlc
    if name == "googlenet":
        from pipeline.backbones.of_torchvision import load_googlenet

        return load_googlenet
    from pipeline.backbones.of_timm import is_model, load_timm

    if not name.startswith("timm/"):
        named = f"timm/{name}" if is_model(name) else "timm/<name>"
        check_choice("--backbone", name, ["googlenet", "bvlc-googlenet", named])
    return partial(load_timm, name.removeprefix("timm/"))


def prepare(
    backbone: Backbone,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
    batch_frames: int | None = None,
) -> Backbone:
    """The same backbone on `device` in `dtype`, `batch_frames` frames at a time; fast.

    `compiled` costs up to half a minute at the first `encode`, and needs a C++ compiler on a CPU;
    its code is kept (`keep_code`), so that later processes need two seconds.
    """
    check_choice("--dtype", dtype, DTYPES)
    if compiled and device == "cpu":
        check_compiler()
        keep_code()
    module = copy.deepcopy(backbone.module)
    if backbone.name == "googlenet":
        from pipeline.backbones.of_torchvision import fold_norms

        module = fold_norms(module)
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
