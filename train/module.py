"""The LightningModule: one training step for every task and net."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.recurrent.classifier import SequenceNet
from pipeline.sequences import SequenceBatch
from pipeline.tasks import CLASSIFICATION
from train.specs import OptimizerSpec, ScheduleSpec


class DivergedError(Exception):
    """Training left the finite numbers; the message says where and what to try."""


class SequenceModule(pl.LightningModule):
    """Trains a net to give each sequence its target: cross entropy, or squared error."""

    def __init__(
        self,
        net: SequenceNet,
        *,
        kind: str,
        optimizer: OptimizerSpec,
        schedule: ScheduleSpec,
        loss_over_batch: str,
        seed: int,
    ) -> None:
        super().__init__()
        self.net = net
        self._kind = kind
        self._optimizer = optimizer
        self._schedule = schedule
        self._sums_batch = loss_over_batch == "sum"
        self._seed = seed
        self._gradient_norm = float("nan")

    def on_train_batch_start(self, batch: SequenceBatch, batch_index: int) -> None:
        # Dropout then depends on the epoch alone, so that a resumed training repeats it. Not when
        # the epoch starts: making the loader's iterator draws a number first, but only sometimes.
        if batch_index == 0:
            torch.manual_seed(self._seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: SequenceBatch, batch_index: int) -> Tensor:
        losses = self._losses(self.net(batch.features, batch.lengths), batch.targets)
        mean = losses.mean()
        if not torch.isfinite(mean):
            raise DivergedError(self._describe_divergence(float(mean.detach())))
        self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=len(losses))
        return losses.sum() if self._sums_batch else mean

    def validation_step(self, batch: SequenceBatch, batch_index: int) -> None:
        scores = self.net(batch.features, batch.lengths)
        losses = self._losses(scores, batch.targets)
        self.log("val_loss", losses.mean(), batch_size=len(losses), sync_dist=True)
        if self._kind == CLASSIFICATION:
            hits = (scores.argmax(dim=1) == batch.targets).float()
            self.log("val_accuracy", hits.mean(), batch_size=len(hits), sync_dist=True)

    def _losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        """(B,) the loss of each sequence, from scores (B, C)."""
        if self._kind == CLASSIFICATION:
            return F.cross_entropy(scores.float(), targets, reduction="none")
        return (scores.float() - targets).square().sum(dim=1)

    def _describe_divergence(self, loss: float) -> str:
        return (
            f"Training diverged at step {self.global_step} of epoch {self.current_epoch}: the loss "
            f"is {loss}; the gradient's norm one step before was {self._gradient_norm:.4g}.\n"
            f"Try a smaller optimizer.lr (now {self._optimizer.lr:g}) or a smaller optimizer.clip "
            f"(now {self._optimizer.clip})."
        )

    def configure_optimizers(self) -> Any:
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = self._optimizer.make(parameters)
        return [optimizer], [self._schedule.make(optimizer)]

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        clip = float("inf") if self._optimizer.clip is None else self._optimizer.clip
        by_norm = self._optimizer.clip_by == "norm"
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip if by_norm else float("inf"))
        self._gradient_norm = float(norm)
        if not by_norm:
            torch.nn.utils.clip_grad_value_(parameters, clip)
