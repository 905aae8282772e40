"""Frozen frame encoders: loading, preprocessing, weights."""

from pipeline.backbones.backbone import (
    Backbone,
    has_compiler,
    load_backbone,
    prepare,
    resolve_dtype,
)

__all__ = [
    "Backbone",
    "has_compiler",
    "load_backbone",
    "prepare",
    "resolve_dtype",
]
