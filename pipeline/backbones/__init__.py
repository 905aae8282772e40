"""Frozen frame encoders: loading, preprocessing, weights."""

from pipeline.backbones.backbone import (
    Backbone,
    load_backbone,
    prepare,
    resolve_dtype,
)
from pipeline.backbones.compiling import has_compiler
from pipeline.backbones.weights import NO_FILES

__all__ = [
    "NO_FILES",
    "Backbone",
    "has_compiler",
    "load_backbone",
    "prepare",
    "resolve_dtype",
]
