"""Where curves go beside metrics.csv: the loggers of the config, Lightning's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.choices import check_choice

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

# A wrong value is refused before Lightning is imported.
# ruff: noqa: PLC0415

_PROJECT = "np-rnn"
_EXTRAS = ("mlflow", "wandb")
"""The loggers whose library, of the same name, is an extra."""


def check_logger(name: object) -> str:
    """The logger's name; ValueError for an unknown one, and where its library is not installed."""
    check_choice("logger", name, LOGGERS)
    if name in _EXTRAS and find_spec(str(name)) is None:
        raise ValueError(
            f"logger={name} needs {name}, which this Python does not have.\n"
            f'Install it: pip install -c constraints.txt -e ".[{name}]"; or pass another logger: '
            f"{', '.join(other for other in LOGGERS if other not in _EXTRAS)}."
        )
    return str(name)


def make_logger(name: str, folder: Path) -> Logger | None:
    """The logger of the run in `folder`; nothing is written before it is used."""
    return LOGGERS[name](folder)


def log_result(
    logger: Logger, settings: Mapping[str, Any], scores: Mapping[str, float], *, step: int
) -> None:
    """Log what was set beside what came out, of the epoch whose weights are kept.

    Not under the scores' own names: these are curves.
    """
    from pytorch_lightning.loggers import TensorBoardLogger

    result = {f"kept/{name}": value for name, value in scores.items()}
    if isinstance(logger, TensorBoardLogger):  # its table of settings wants both together
        logger.log_hyperparams(dict(settings), result, step)
    else:
        logger.log_hyperparams(dict(settings))
        logger.log_metrics(result, step)
    logger.save()
    logger.finalize("success")


def _make_tensorboard(folder: Path) -> Logger:
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="", version="tensorboard", default_hp_metric=False)


def _make_csv(folder: Path) -> Logger:
    """`csv/version_0`, and another for each time the training goes on: it appends to none."""
    from pytorch_lightning.loggers import CSVLogger

    return CSVLogger(folder, name="csv")


def _make_mlflow(folder: Path) -> Logger:
    """In the store that MLFLOW_TRACKING_URI names, or `mlflow.db` beside the run."""
    from pytorch_lightning.loggers import MLFlowLogger

    # MLflow 3 refuses its former store of plain files.
    own = f"sqlite:///{(folder.parent / 'mlflow.db').absolute()}"
    place = os.environ.get("MLFLOW_TRACKING_URI") or own
    return MLFlowLogger(_PROJECT, run_name=folder.name, tracking_uri=place)


def _make_wandb(folder: Path) -> Logger:
    """One run there for the run here, however often it goes on."""
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(
        folder.name, save_dir=folder, project=_PROJECT, id=folder.name, resume="allow"
    )


def _make_none(folder: Path) -> None:
    """metrics.csv is written all the same."""


LOGGERS: dict[str, Callable[[Path], Logger | None]] = {
    "tensorboard": _make_tensorboard,
    "csv": _make_csv,
    "mlflow": _make_mlflow,
    "wandb": _make_wandb,
    "none": _make_none,
}
