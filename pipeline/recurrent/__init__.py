"""The nets: their weights at the start, their layers, their scores, and their dynamics."""

from pipeline.recurrent.classifier import SequenceNet, StreamState, build_net, num_parameters
from pipeline.recurrent.spec import NETS, NetKind, NetSpec, multiply_adds_per_step

__all__ = [
    "NETS",
    "NetKind",
    "NetSpec",
    "SequenceNet",
    "StreamState",
    "build_net",
    "multiply_adds_per_step",
    "num_parameters",
]
