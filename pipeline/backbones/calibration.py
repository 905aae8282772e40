"""From a backbone to its 8-bit model: the graph in OpenVINO, and ranges of its layers from frames.

Weights have a scale for each output channel, layers' inputs one for all of it (nncf's quantisation
after training). OpenVINO's parts are used as this module needs them, no more.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.backbones.backbone import Backbone, prepare, resolve_dtype
from pipeline.backbones.bvlc_googlenet import ResponseNorm
from pipeline.backbones.int8 import Int8Model, import_openvino, without_telemetry

# ruff: noqa: PLC0415

_BATCH = 16
_NORM = "np_rnn::response_norm"


def calibrate(backbone: Backbone, crops: Tensor, *, features: str, num_clips: int) -> Int8Model:
    """The 8-bit model of a backbone in float32, its ranges those of `crops` (N, 3, h, w).

    Equal crops in the same order give the same model on the same machine.
    """
    frames = crops.permute(0, 2, 3, 1).contiguous()
    with _quietly():
        graph = quantise(build_graph(backbone), frames)
        xml, numbers = serialise(graph)
    return Int8Model(
        name=backbone.name,
        dim=backbone.dim,
        features=features,
        weights=backbone.weights,
        weights_digest=backbone.weights_digest,
        steps=backbone.steps,
        between=resolve_dtype("auto", "cpu"),
        num_frames=len(frames),
        num_clips=num_clips,
        graph=xml,
        numbers=numbers,
    )


class _FromFrames(nn.Module):
    """Features of uint8 frames (N, h, w, 3): the scaling and the net."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        net = prepare(backbone).module.to(memory_format=torch.contiguous_format)
        self.net = _replace_norms(net)
        self.register_buffer("mean", torch.tensor(backbone.steps.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.steps.std).view(1, 3, 1, 1))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.net((frames.permute(0, 3, 1, 2).float() - self.mean) / self.std)
        return features


class _NativeNorm(nn.Module):
    """As ResponseNorm: in OpenVINO an operator of its own."""

    def __init__(self, norm: ResponseNorm) -> None:
        super().__init__()
        self.alpha, self.size = norm.alpha, norm.size

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = torch.ops.np_rnn.response_norm(x, self.alpha, self.size)
        return normed


def _replace_norms(net: nn.Module) -> nn.Module:
    """`net` with its ResponseNorms as OpenVINO knows them: a band matrix has no use of 8 bits."""
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ResponseNorm):
                setattr(module, name, _NativeNorm(child))
    return net


@functools.cache
def _define_norm() -> None:
    """Make the operator known to torch, so that it stays one in an exported graph."""

    def compute(x: Tensor, alpha: float, size: int) -> Tensor:
        return F.local_response_norm(x, size, alpha=alpha, beta=0.75, k=1.0)

    # Deferred annotations are text, which the operator's signature is not read from.
    compute.__annotations__ = {"x": Tensor, "alpha": float, "size": int, "return": Tensor}
    operator = torch.library.custom_op(_NORM, compute, mutates_args=())
    operator.register_fake(lambda x, alpha, size: torch.empty_like(x))


def build_graph(backbone: Backbone) -> Any:
    """The openvino.Model of uint8 frames (N, h, w, 3) to features (N, D), in float32."""
    openvino = import_openvino()
    from openvino.frontend.pytorch import ConversionExtension

    _define_norm()
    frames = torch.zeros(2, *backbone.steps.size, 3, dtype=torch.uint8)
    exported = torch.export.export(
        _FromFrames(backbone).eval(), (frames,), dynamic_shapes=({0: torch.export.Dim.AUTO},)
    )
    norms = ConversionExtension("np_rnn.response_norm.default", _convert_norm)
    graph = openvino.convert_model(exported, extension=[norms])
    graph.reshape([-1, *backbone.steps.size, 3])
    return _simplify_pools(graph)


def _convert_norm(context: Any) -> Any:
    from openvino import opset1

    alpha, size = (context.get_values_from_const_input(place) for place in (1, 2))
    channels = np.array([1], np.int64)
    return opset1.lrn(context.get_input(0), channels, alpha, 0.75, 1.0, size).outputs()


def _simplify_pools(graph: Any) -> Any:
    """The same graph, whose max pools give no places of the maxima, which nobody reads.

    With them they stay out of 8 bits, and the places are converted all the same: a tenth of the
    time.
    """
    from openvino import opset1

    for pool in graph.get_ordered_ops():
        if pool.get_type_name() != "MaxPool" or pool.get_output_size() == 1:
            continue
        given = pool.get_attributes()
        rounding = given["rounding_type"].removesuffix("_torch")
        sides = (given[name] for name in ("strides", "pads_begin", "pads_end", "kernel"))
        simple = opset1.max_pool(pool.input_value(0), *sides, rounding)
        # torch leaves out a last window that lies in the padding, where the old operator does not.
        if simple.get_output_partial_shape(0) == pool.get_output_partial_shape(0):
            simple.set_friendly_name(pool.get_friendly_name())
            pool.output(0).replace(simple.output(0))
    graph.validate_nodes_and_infer_types()
    return graph


def quantise(graph: Any, frames: Tensor) -> Any:
    """The graph with 8-bit convolutions and products, their ranges those of uint8 `frames`.

    The first layer's weights have all 8 bits, for which sums need VNNI (`check_int8`), and means
    are not corrected: with 7 bits the least cosine to float32 was lower, and correcting changed
    nothing (LOG.md).
    """
    with without_telemetry():
        import nncf
    parameters = nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.DISABLE, disable_bias_correction=True
    )
    batches = [batch.numpy() for batch in torch.split(frames, _BATCH)]
    return nncf.quantize(
        graph, nncf.Dataset(batches), subset_size=len(batches), advanced_parameters=parameters
    )


def serialise(graph: Any) -> tuple[bytes, bytes]:
    """The graph as OpenVINO writes it: XML, and the numbers; operators are named by their order.

    Their own names count what the process has made before.
    """
    for place, operator in enumerate(graph.get_ordered_ops()):
        operator.set_friendly_name(f"{operator.get_type_name()}-{place}")
    graph.set_friendly_name("encoder")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        import_openvino().save_model(graph, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what nncf and the exporter print: progress, deprecations of their own."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)
