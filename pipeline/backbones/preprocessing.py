"""From decoded frames to a net's input: one resize, crop and scaling for a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

RESIZES = ("squash", "short-side", "border")
INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Preprocessing:
    """From frames of any size to a net's input; `mean` and `std` are of RGB in [0, 255].

    `resize` is how a frame comes to `scaled` (height, width): `squash` ignores its shape,
    `short-side` covers that box, `border` fits into it; a centre crop of `size` follows.
    """

    resize: str
    scaled: tuple[int, int]
    size: tuple[int, int]
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        for field, known in (("resize", RESIZES), ("interpolation", INTERPOLATIONS)):
            found = getattr(self, field)
            if found not in known:
                raise ValueError(f"{field}: found {found!r}, expected one of {', '.join(known)}")

    def __str__(self) -> str:
        mean, std = (
            ", ".join(f"{value:.6g}" for value in values) for values in (self.mean, self.std)
        )
        return (
            f"{self.resize} {self.scaled[0]}x{self.scaled[1]} {self.interpolation} antialias, "
            f"centre crop {self.size[0]}x{self.size[1]}, RGB 0-255 less ({mean}) over ({std})"
        )

    def crop(self, frames: Tensor) -> Tensor:
        """uint8 frames (N, H, W, 3) as uint8 crops (N, 3, h, w) in channels-last memory."""
        if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
            raise ValueError(
                f"frames: expected uint8 (N, H, W, 3), found {frames.dtype} {tuple(frames.shape)}"
            )
        images = frames.permute(0, 3, 1, 2)
        height, width = _scaled_size(self.resize, (frames.shape[1], frames.shape[2]), self.scaled)
        if len(images) and (height, width) != tuple(images.shape[2:]):
            images = _resize(images, (height, width), mode=self.interpolation)
        elif (height, width) != tuple(images.shape[2:]):
            images = images.new_empty(0, 3, height, width)
        return _centre(images, self.size, fill=self.mean)

    def normalise(self, crops: Tensor) -> Tensor:
        """uint8 crops (N, 3, h, w) as the float32 input of the net."""
        mean = torch.tensor(self.mean, device=crops.device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=crops.device).view(1, 3, 1, 1)
        return (crops - mean) / std


def _scaled_size(resize: str, size: tuple[int, int], scaled: tuple[int, int]) -> tuple[int, int]:
    """Height and width after the resize, rounded as torchvision and timm round them."""
    if resize == "squash":
        return scaled
    height, width = size
    if resize == "short-side" and scaled[0] == scaled[1]:
        long = int(scaled[0] * max(size) / min(size))
        return (scaled[0], long) if height <= width else (long, scaled[0])
    choose = min if resize == "short-side" else max
    ratio = choose(height / scaled[0], width / scaled[1])
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _resize(images: Tensor, size: tuple[int, int], *, mode: str) -> Tensor:
    """uint8 images resized; a GPU has no integer kernel and rounds the float one's result."""
    if images.device.type == "cpu":
        # On channels-last bytes this is over ten times faster than on floats.
        return F.interpolate(images, size=size, mode=mode, antialias=True)
    resized = F.interpolate(images.float(), size=size, mode=mode, antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def _centre(images: Tensor, size: tuple[int, int], *, fill: tuple[float, ...]) -> Tensor:
    """The middle of images (N, 3, H, W), on a ground of colour `fill` where they are smaller."""
    short = [max(0, want - have) for want, have in zip(size, images.shape[2:], strict=True)]
    if any(short):
        colour = torch.tensor(fill, device=images.device).round().to(torch.uint8).view(1, 3, 1, 1)
        height, width = (have + lack for have, lack in zip(images.shape[2:], short, strict=True))
        ground = colour.expand(len(images), 3, height, width)
        ground = ground.contiguous(memory_format=torch.channels_last)
        top, left = short[0] // 2, short[1] // 2
        ground[:, :, top : top + images.shape[2], left : left + images.shape[3]] = images
        images = ground
    top, left = (
        round((have - want) / 2) for have, want in zip(images.shape[2:], size, strict=True)
    )
    return images[:, :, top : top + size[0], left : left + size[1]]
