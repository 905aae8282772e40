"""A frozen encoder in 8 bits: the file that holds it, and how it runs on a CPU (OpenVINO).

Its numbers were chosen once, from frames (`calibration`); whoever encodes with it reads the file.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pipeline.backbones.backbone import Backbone
from pipeline.backbones.preprocessing import Preprocessing
from pipeline.features import INT8, INT8_FILE, name_encoder
from pipeline.files import write_bytes

# OpenVINO is an extra, and takes a second to import.
# ruff: noqa: PLC0415

_FORMAT = "8-bit encoder 1"
_NEEDED = ("openvino", "nncf")


@dataclass(frozen=True)
class Int8Model:
    """OpenVINO's `graph` (XML) with its `numbers`, and what it was made of.

    Frames uint8 (N, h, w, 3) in, features (N, dim) out; what is not in 8 bits is in `between`.
    `num_frames` frames of `num_clips` clips gave the ranges of its layers.
    """

    name: str
    dim: int
    features: str
    weights: str
    weights_digest: str
    steps: Preprocessing
    between: str
    num_frames: int
    num_clips: int
    graph: bytes
    numbers: bytes

    def describe(self, name: str) -> str:
        """The arithmetic, as a FeatureSpec tells it, of a model whose file has this name."""
        return (
            f"{INT8} with {self.between}, calibrated on {self.num_frames} frames of "
            f"{self.num_clips} clips, model {name}"
        )


def write_int8(path: Path, model: Int8Model) -> None:
    """Write the model whole or not at all; an equal one gives the same bytes."""
    content = asdict(model)
    tensors = {
        name: torch.frombuffer(bytearray(content.pop(name)), dtype=torch.uint8)
        for name in ("graph", "numbers")
    }
    # One text: safetensors writes several in an order that differs from call to call.
    about = json.dumps({"format": _FORMAT, **content}, sort_keys=True)
    write_bytes(path, safetensors.torch.save(tensors, {"encoder": about}))


def read_int8(path: Path) -> Int8Model:
    """What `write_int8` wrote; ValueError for anything else."""
    try:
        with safetensors.safe_open(path, "np") as file:
            content = json.loads((file.metadata() or {})["encoder"])
            if (found := content.pop("format")) != _FORMAT:
                raise ValueError(f"its format is {found!r}, not {_FORMAT!r}")
            arrays = {name: file.get_tensor(name).tobytes() for name in ("graph", "numbers")}
        steps: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in content.pop("steps").items()
        }
        return Int8Model(**content, **arrays, steps=Preprocessing(**steps))
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{path} is not an 8-bit encoder, or is damaged: {error}.\n"
            f"Expected the {INT8_FILE} of a store of features. Where that is damaged, delete it "
            f"and run the same `python -m extract` again: of the same videos the same is made."
        ) from error


def load_int8(path: Path) -> tuple[Backbone, str]:
    """The encoder in a file, ready to run on the CPU, and its arithmetic as a FeatureSpec tells it.

    Raises ValueError for another file, or where this machine cannot compute as it asks.
    """
    check_int8("cpu")
    model = read_int8(path)
    net = Int8Net(model)
    backbone = Backbone(
        model.name, net, model.dim, model.weights, model.weights_digest, model.steps,
        dtype=INT8, compute=net, weights_file=path,
    )  # fmt: skip
    return backbone, model.describe(name_encoder(path))


class Int8Net(nn.Module):
    """The model as a function of uint8 crops (N, 3, h, w), from any number of threads at a time.

    A call runs in as many threads as torch would. Each of those that overlap has a compiled model
    of its own, without a fixed core: OpenVINO would bind the models of two processes to the same.
    """

    def __init__(self, model: Int8Model) -> None:
        super().__init__()
        openvino = import_openvino()
        self._core = openvino.Core()
        self._between = _check_between(self._core, model.between)
        self._model = model
        self._free: defaultdict[tuple[int, int], list[Any]] = defaultdict(list)

    def forward(self, crops: Tensor) -> Tensor:
        """Features (N, D), float32."""
        kind = len(crops), torch.get_num_threads()
        free = self._free[kind]
        try:
            request = free.pop()
        except IndexError:
            request = self._compile(*kind)
        frames = crops.permute(0, 2, 3, 1).contiguous().numpy()
        features = torch.from_numpy(np.array(request.infer({0: frames}, share_inputs=True)[0]))
        free.append(request)
        return features

    def _compile(self, num_frames: int, num_threads: int) -> Any:
        graph = self._core.read_model(self._model.graph, self._model.numbers)
        graph.reshape([num_frames, *self._model.steps.size, 3])
        options = {
            "INFERENCE_PRECISION_HINT": self._between,
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        return self._core.compile_model(graph, "CPU", options).create_infer_request()


def _check_between(core: Any, between: str) -> str:
    """OpenVINO's name of the arithmetic between the 8-bit layers, which the processor must have."""
    has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if between == "bfloat16" and not has_bfloat16:
        raise ValueError(
            "The 8-bit encoder computes in bfloat16 between its layers, which this processor does "
            "not have.\nRun this on one that has it, or extract again here, into another folder."
        )
    return {"float32": "f32", "bfloat16": "bf16"}[between]


def check_int8(device: str) -> None:
    """Raise ValueError where `device` cannot compute in 8 bits, or what it needs is missing."""
    if device != "cpu":
        raise ValueError(
            f"8 bits (int8) are computed on a CPU, found the device {device}.\n"
            f"Pass --device cpu, or extract with --dtype bfloat16 or float32."
        )
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(
            f"8 bits (int8) need {' and '.join(missing)}, which this Python does not have.\n"
            f'Install what they need: pip install -c constraints.txt -e ".[openvino]"'
        )
    if not torch.cpu._is_vnni_supported():
        raise ValueError(
            "8 bits (int8) need a processor with 8-bit dot products (AVX-512 VNNI), and this one "
            "has none: sums would overflow.\nExtract with --dtype float32 or bfloat16."
        )


def import_openvino() -> Any:
    """The module; imported here for the first time, it reports nothing to its makers."""
    with without_telemetry():
        import openvino
    return openvino


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """What is imported in the block does not find `openvino_telemetry`, which sends usage data."""
    name = "openvino_telemetry"
    known = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
        if known is not None:
            sys.modules[name] = known
