"""The run folder: one training, its config, weights, log and provenance."""

from pipeline.runs.folder import (
    CONFIG,
    DIVERGED,
    METRICS,
    WEIGHTS,
    Run,
    describe_provenance,
    find_runs,
    load_net,
    load_run,
    net_section,
    save_weights,
    write_config,
)

__all__ = [
    "CONFIG",
    "DIVERGED",
    "METRICS",
    "WEIGHTS",
    "Run",
    "describe_provenance",
    "find_runs",
    "load_net",
    "load_run",
    "net_section",
    "save_weights",
    "write_config",
]
