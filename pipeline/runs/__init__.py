"""The run folder: one training, its config, weights, log and provenance."""

from pipeline.runs.archive import is_archive
from pipeline.runs.card import CardScore, write_card
from pipeline.runs.config import RunConfig, TaskConfig
from pipeline.runs.encoder_weights import find_encoder_weights
from pipeline.runs.folder import (
    Run,
    begin_run,
    find_runs,
    is_run,
    load_net,
    load_run,
    read_kept,
    save_weights,
    write_provenance,
)
from pipeline.runs.learning import BatchSpec, OptimizerSpec, ScheduleSpec
from pipeline.runs.names import CALIBRATION, CARD, CONFIG, DIVERGED, METRICS, WEIGHTS
from pipeline.runs.provenance import Provenance, Session, describe_session

__all__ = [
    "CALIBRATION",
    "CARD",
    "CONFIG",
    "DIVERGED",
    "METRICS",
    "WEIGHTS",
    "BatchSpec",
    "CardScore",
    "OptimizerSpec",
    "Provenance",
    "Run",
    "RunConfig",
    "ScheduleSpec",
    "Session",
    "TaskConfig",
    "begin_run",
    "describe_session",
    "find_encoder_weights",
    "find_runs",
    "is_archive",
    "is_run",
    "load_net",
    "load_run",
    "read_kept",
    "save_weights",
    "write_card",
    "write_provenance",
]
