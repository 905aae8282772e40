"""A run's backbone as an ONNX graph: cropped frames in, features out."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from eval.export.exported import excess, open_session
from pipeline.backbones import NO_FILES, Backbone, load_backbone
from pipeline.backbones.encoder import Encoder
from pipeline.features import INT8_FILE, FeatureSpec

_OPSET = 18  # the least that torch writes
_CHECKED_FRAMES = 5


class _CropsToFeatures(nn.Module):
    """Features (N, D) of uint8 crops (N, h, w, 3)."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.module, self.steps = backbone.module, backbone.steps

    def forward(self, crops: Tensor) -> Tensor:
        features: Tensor = self.module(self.steps.normalise(crops.permute(0, 3, 1, 2)))
        return features


def build_encoder(
    spec: FeatureSpec | None, *, weights: str | Path | None
) -> tuple[onnx.ModelProto, float]:
    """crops (batch, h, w, 3) uint8 RGB -> features (batch, D); and its excess over the tolerance.

    How a frame becomes a crop stands in the metadata's `preprocessing`: a camera's own resize is
    the device's business. float32, whatever arithmetic the features were made in.
    """
    backbone = _load(spec, weights)
    net = _CropsToFeatures(backbone).eval()
    size = (*backbone.steps.size, 3)
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(256, (_CHECKED_FRAMES, *size), dtype=torch.uint8, generator=generator)
    program = torch.onnx.export(
        net, (crops[:2],), dynamo=True, opset_version=_OPSET, verbose=False,
        input_names=["crops"], output_names=["features"],
        dynamic_shapes={"crops": {0: torch.export.Dim("batch")}},
    )  # fmt: skip
    assert program is not None
    model = program.model_proto
    found = open_session(model).run(["features"], {"crops": crops.numpy()})[0]
    with torch.inference_mode():
        wanted = net(crops).numpy()
    return model, excess(found, wanted)


def _load(spec: FeatureSpec | None, weights: str | Path | None) -> Backbone:
    if spec is None:
        raise ValueError("The run was not trained on features of frames: it has no backbone.")
    if spec.is_int8 and weights is not None and Path(weights).name == INT8_FILE:
        weights = None  # the store's own encoder, which has no float32
    if weights is None and spec.weights not in NO_FILES:
        raise ValueError(
            f"The run was trained on features of {spec.backbone} with the weights of a file, "
            f"{spec.weights}.\nPass it: --weights FILE"
        )
    backbone = load_backbone(spec.backbone, weights=weights or spec.weights, features=spec.features)
    return Encoder(backbone, spec).backbone  # refuses other weights
