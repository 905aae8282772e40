"""The GoogLeNet of torchvision, with its weights of ImageNet."""

from __future__ import annotations

from collections.abc import Mapping

import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.googlenet import BasicConv2d

from pipeline.backbones.preprocessing import Preprocessing
from pipeline.backbones.weights import draw, drawn_from, fill, read_state


def load_googlenet(
    weights: str, with_classifier: bool, seed: int
) -> tuple[nn.Module, Preprocessing]:
    """The net and its preprocessing; `weights` as `load_backbone` takes them."""
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


def fold_norms(module: nn.Module) -> nn.Module:
    """`module` with each batch norm of torchvision's GoogLeNet folded into its convolution."""
    for layer in module.modules():
        if isinstance(layer, BasicConv2d):
            layer.conv, layer.bn = fuse_conv_bn_eval(layer.conv, layer.bn), nn.Identity()
    return module
