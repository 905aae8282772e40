"""The files of a run folder that a later stage may need; checkpoints and logs are none of them."""

from __future__ import annotations

CONFIG = "config.yaml"
WEIGHTS = "weights.safetensors"
PROVENANCE = "provenance.json"
DIVERGED = "diverged.txt"
METRICS = "metrics.csv"
CARD = "README.md"
CALIBRATION = "calibration.json"
KEPT = ("vocabulary.txt",)
"""Texts of the run's task, of which it keeps a copy."""
FILES = (CONFIG, WEIGHTS, PROVENANCE, DIVERGED, METRICS, CARD, CALIBRATION, *KEPT)
