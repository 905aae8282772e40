"""Lightning's trainer, as a training needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import LearningRateMonitor, ModelCheckpoint

from train.callbacks import EpochBar, EpochLines, EpochLog
from train.checkpoints import WholeCheckpoints
from train.loggers import make_logger
from train.precision import make_precision
from train.ranks import choose_strategy
from train.training import Training


def make_trainer(folder: Path, training: Training) -> tuple[pl.Trainer, ModelCheckpoint]:
    """The trainer, and what knows the epoch with the best validation loss."""
    compute = training.compute
    # Two, as Lightning's save_last leaves out the epochs that are not the best so far. The last one
    # is written last, so that it knows of the best of its epoch.
    best, last = (
        ModelCheckpoint(
            folder / "checkpoints", name, monitor=monitor,
            save_on_train_epoch_end=True, enable_version_counter=False,
        )
        for name, monitor in (("best", "val_loss"), ("last", None))
    )  # fmt: skip
    logger = make_logger(training.logger, folder)
    trainer = pl.Trainer(
        max_epochs=training.schedule.num_epochs,
        accelerator=compute.found_accelerator,
        devices=compute.found_devices,
        num_nodes=compute.found_num_nodes,
        strategy=choose_strategy(compute.strategy),
        plugins=[
            make_precision(str(training.config.batch.precision), compute.found_accelerator),
            WholeCheckpoints(),
        ],
        use_distributed_sampler=False,  # a rank takes its share of the batches that there are
        callbacks=[
            best,
            last,
            EpochLog(folder),
            EpochBar() if sys.stderr.isatty() else EpochLines(),
            *([LearningRateMonitor("epoch")] if logger else []),
        ],
        logger=logger or False,
        enable_autolog_hparams=False,  # they are logged with the scores, at the end
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    return trainer, best
