"""The GoogLeNet of 2014 as Caffe's model zoo trained it: response normalisation, no batch norm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.backbones.preprocessing import Preprocessing
from pipeline.backbones.weights import draw, drawn_from, existing_file, fill

# Output channels: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection (Szegedy et al., table 1).
BLOCKS: dict[str, tuple[int, int, int, int, int, int]] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class ResponseNorm(nn.Module):
    """x / (1 + alpha/5 * sum of x^2 over 5 neighbouring channels)^0.75, as Caffe's LRN layer.

    The sum is a product with a band matrix, which a CPU does many times faster than
    `F.local_response_norm`.
    """

    def __init__(self, num_channels: int, *, alpha: float = 1e-4, size: int = 5) -> None:
        super().__init__()
        self.alpha, self.size = alpha, size
        index = torch.arange(num_channels)
        near = (index[:, None] - index[None, :]).abs() <= size // 2
        band = near.to(torch.float32) * (alpha / size)
        self.register_buffer("band", band[:, :, None, None], persistent=False)
        self.band: Tensor

    def forward(self, x: Tensor) -> Tensor:
        scale = F.conv2d(x * x, self.band) + 1.0
        root = scale.rsqrt()
        return x * (root * root.sqrt())


class _Conv2d(nn.Conv2d):
    """Without numbers until `load_bvlc` fills them in: to draw some first takes as long."""

    def reset_parameters(self) -> None:
        pass


class Inception(nn.Module):
    """Four branches side by side, (B, C, H, W) to (B, sum of the branches' channels, H, W)."""

    def __init__(self, num_inputs: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pool = channels
        self.sizes = [one, reduce3, reduce5]
        # The three 1x1 convolutions of the input are one: their weights lie side by side.
        self.entry = _Conv2d(num_inputs, sum(self.sizes), 1)
        self.three = _Conv2d(reduce3, three, 3, padding=1)
        self.five = _Conv2d(reduce5, five, 5, padding=2)
        self.pool = _Conv2d(num_inputs, pool, 1)
        self.num_outputs = one + three + five + pool

    def forward(self, x: Tensor) -> Tensor:
        one, reduced3, reduced5 = torch.split(F.relu(self.entry(x)), self.sizes, dim=1)
        three = F.relu(self.three(reduced3))
        five = F.relu(self.five(reduced5))
        pool = F.relu(self.pool(F.max_pool2d(x, 3, stride=1, padding=1)))
        return torch.cat([one, three, five, pool], dim=1)


class BvlcGoogLeNet(nn.Module):
    """Features (B, 1024), or with a classifier outputs (B, 1000), of RGB 0-255 less its mean.

    Caffe's order is BGR: `caffe_state` turns its first weights around.
    """

    def __init__(self, *, with_classifier: bool = False) -> None:
        super().__init__()
        self.conv1 = _Conv2d(3, 64, 7, stride=2, padding=3)
        self.norm1 = ResponseNorm(64)
        self.conv2_reduce = _Conv2d(64, 64, 1)
        self.conv2 = _Conv2d(64, 192, 3, padding=1)
        self.norm2 = ResponseNorm(192)
        self.blocks = nn.ModuleDict()
        num_channels = 192
        for name, channels in BLOCKS.items():
            block = Inception(num_channels, channels)
            self.blocks[name] = block
            num_channels = block.num_outputs
        self.classifier = nn.Linear(num_channels, 1000) if with_classifier else nn.Identity()
        self.dim_of_features = 1000 if with_classifier else num_channels

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(_halve(F.relu(self.conv1(x))))  # (B, 64, 56, 56)
        x = F.relu(self.conv2(F.relu(self.conv2_reduce(x))))
        x = _halve(self.norm2(x))  # (B, 192, 28, 28)
        for name, block in self.blocks.items():
            x = block(x)
            if name in ("3b", "4e"):
                x = _halve(x)
        features: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return features


def _halve(x: Tensor) -> Tensor:
    """Maximum over 3x3 windows at stride 2; Caffe rounds the size up, so edge windows count."""
    return F.max_pool2d(x, 3, stride=2, ceil_mode=True)


def caffe_state(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `BvlcGoogLeNet` from arrays named `<caffe layer>/weight|bias`.

    The first layer's inputs turn from Caffe's BGR to RGB.
    """
    state: dict[str, Tensor] = {}
    for kind in ("weight", "bias"):
        state[f"conv1.{kind}"] = arrays[f"conv1/7x7_s2/{kind}"]
        state[f"conv2_reduce.{kind}"] = arrays[f"conv2/3x3_reduce/{kind}"]
        state[f"conv2.{kind}"] = arrays[f"conv2/3x3/{kind}"]
        state[f"classifier.{kind}"] = arrays[f"loss3/classifier/{kind}"]
        for name in BLOCKS:
            layer = f"inception_{name}"
            entry = [
                arrays[f"{layer}/{branch}/{kind}"] for branch in ("1x1", "3x3_reduce", "5x5_reduce")
            ]
            state[f"blocks.{name}.entry.{kind}"] = torch.cat(entry)
            for ours, theirs in (("three", "3x3"), ("five", "5x5"), ("pool", "pool_proj")):
                state[f"blocks.{name}.{ours}.{kind}"] = arrays[f"{layer}/{theirs}/{kind}"]
    state["conv1.weight"] = state["conv1.weight"].flip(1)
    return state


def load_bvlc(weights: str, with_classifier: bool, seed: int) -> tuple[nn.Module, Preprocessing]:
    """The net and its preprocessing; `weights` as `load_backbone` takes them."""
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
