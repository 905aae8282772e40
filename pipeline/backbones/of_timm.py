"""The nets of timm, with its weights of ImageNet."""

from __future__ import annotations

import math
from typing import Any

import timm
from timm.data.config import resolve_data_config
from torch import nn

from pipeline.backbones.preprocessing import Preprocessing
from pipeline.backbones.weights import drawn_from, fill, read_state
from pipeline.choices import check_choice


def is_model(name: str) -> bool:
    """Whether timm has a net of this name."""
    return bool(timm.is_model(name))


def load_timm(
    name: str, weights: str, with_classifier: bool, seed: int
) -> tuple[nn.Module, Preprocessing]:
    """The net and its preprocessing; `weights` as `load_backbone` takes them."""
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
