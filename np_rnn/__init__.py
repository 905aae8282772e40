"""np-rnn from Python: the names that the pages document, each imported when it is first used.

So `import np_rnn` takes no torch. In a checkout the packages stand beside this one, installed they
lie within it; this package alone has the same name in both.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pipeline as _pipeline

if TYPE_CHECKING:
    from pipeline.clips import Clip
    from pipeline.features import FeatureSpec, FeatureWriter
    from pipeline.runs import find_encoder_weights, load_net, load_run
    from pipeline.streaming import Streamer, load_encoder
    from pipeline.video import read_frames

__all__ = [
    "Clip",
    "FeatureSpec",
    "FeatureWriter",
    "Streamer",
    "find_encoder_weights",
    "load_encoder",
    "load_net",
    "load_run",
    "read_frames",
]

_HOMES = {
    "Clip": "clips",
    "FeatureSpec": "features",
    "FeatureWriter": "features",
    "Streamer": "streaming",
    "find_encoder_weights": "runs",
    "load_encoder": "streaming",
    "load_net": "runs",
    "load_run": "runs",
    "read_frames": "video",
}


if not TYPE_CHECKING:  # to a checker, any name would be there

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(import_module(f"{_pipeline.__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
