"""The LightningModule: one training step for every task and net."""

from __future__ import annotations

from typing import Any, Literal

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.metrics import WITHIN
from pipeline.recurrent.classifier import SequenceNet
from pipeline.runs import OptimizerSpec, ScheduleSpec
from pipeline.sequences import SequenceBatch
from pipeline.tasks import CLASSIFICATION, NOT_SCORED
from train.blocks import make_updates
from train.specs import make_optimizer, make_scheduler


class DivergedError(Exception):
    """Training left the finite numbers; the message says where and what to try."""


class SequenceModule(pl.LightningModule):
    """Trains a net to give each sequence its target: cross entropy, or squared error.

    With `block_batch_size`, a training step makes one update for each batch of that size in the
    block that it is given, all in one call of the kernel (see train/blocks.py).
    """

    def __init__(
        self,
        net: SequenceNet,
        *,
        kind: str,
        optimizer: OptimizerSpec,
        schedule: ScheduleSpec,
        loss_over_batch: Literal["mean", "sum"],
        seed: int,
        block_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.automatic_optimization = block_batch_size is None
        self.num_updates = 0
        self._block_batch_size = block_batch_size
        self._kind = kind
        self._optimizer = optimizer
        self._schedule = schedule
        self._loss_over_batch = loss_over_batch
        self._seed = seed
        self._gradient_norm = float("nan")

    def on_train_batch_start(self, batch: SequenceBatch, batch_index: int) -> None:
        # Dropout then depends on the epoch alone, so that a resumed training repeats it. Not when
        # the epoch starts: making the loader's iterator draws a number first, but only sometimes.
        if batch_index == 0:
            torch.manual_seed(self._seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: SequenceBatch, batch_index: int) -> Tensor | None:
        if self._block_batch_size is not None:
            self._make_block(batch, self._block_batch_size)
            return None
        losses = self._losses(self.net(batch.features, batch.lengths), batch.targets)
        mean = losses.mean()
        if not torch.isfinite(mean):
            raise DivergedError(self._describe_divergence(float(mean.detach())))
        self.num_updates += 1
        self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=len(losses))
        return losses.sum() if self._loss_over_batch == "sum" else mean

    def _make_block(self, batch: SequenceBatch, batch_size: int) -> None:
        optimizer: Any = self.optimizers()
        losses, norms = make_updates(
            self.net, batch, batch_size=batch_size, kind=self._kind,
            learning_rate=optimizer.param_groups[0]["lr"], optimizer=self._optimizer,
            loss_over_batch=self._loss_over_batch,
        )  # fmt: skip
        is_finite = torch.isfinite(losses)
        num_made = int(is_finite.cumprod(0).sum())
        self.num_updates += num_made
        if num_made:
            self._gradient_norm = float(norms[num_made - 1])
        if num_made < len(losses):
            raise DivergedError(self._describe_divergence(float(losses[num_made])))
        mean = losses.mean()
        self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=len(batch.targets))
        optimizer.step()  # there are no gradients: it only counts, so that Lightning sees progress

    def on_train_epoch_end(self) -> None:
        if not self.automatic_optimization:
            scheduler: Any = self.lr_schedulers()
            scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["num_updates"] = self.num_updates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.num_updates = checkpoint["num_updates"]

    def validation_step(self, batch: SequenceBatch, batch_index: int) -> None:
        outputs = self.net(batch.features, batch.lengths)
        losses = self._losses(outputs, batch.targets)
        self.log("val_loss", losses.mean(), batch_size=len(losses), sync_dist=True)
        if self._kind == CLASSIFICATION:
            hits = (outputs.argmax(dim=-1) == batch.targets).float()
            share = hits.sum() / (batch.targets != NOT_SCORED).sum()
            self.log("val_accuracy", share, batch_size=len(losses), sync_dist=True)
        else:
            hits = ((outputs - batch.targets).abs() < WITHIN).float()
            self.log("val_within", hits.mean(), batch_size=len(losses), sync_dist=True)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B,) the loss of each sequence: its mean over the steps that are scored.

        Outputs (B, C), or (B, T, C) with targets (B, T) that are NOT_SCORED at some steps.
        """
        outputs = outputs.float()
        if self._kind != CLASSIFICATION:
            return (outputs - targets).square().sum(dim=1)
        if outputs.ndim == 2:
            return F.cross_entropy(outputs, targets, reduction="none")
        losses = F.cross_entropy(
            outputs.transpose(1, 2), targets, reduction="none", ignore_index=NOT_SCORED
        )  # (B, T)
        return losses.sum(dim=1) / (targets != NOT_SCORED).sum(dim=1)

    def _describe_divergence(self, loss: float) -> str:
        clip = self._optimizer.clip
        clipping = (
            "optimizer.clip=10" if clip is None else f"a smaller optimizer.clip (now {clip:g})"
        )
        return (
            f"Training diverged at update {self.num_updates} in epoch {self.current_epoch}: the "
            f"loss is {loss}; the gradient's norm one update before was "
            f"{self._gradient_norm:.4g}.\n"
            f"Try a smaller optimizer.lr (now {self._optimizer.lr:g}) or {clipping}."
        )

    def configure_optimizers(self) -> Any:
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        optimizer = make_optimizer(self._optimizer, parameters)
        return [optimizer], [make_scheduler(self._schedule, optimizer)]

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        clip = float("inf") if self._optimizer.clip is None else self._optimizer.clip
        by_norm = self._optimizer.clip_by != "value"
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip if by_norm else float("inf"))
        self._gradient_norm = float(norm)
        if not by_norm:
            torch.nn.utils.clip_grad_value_(parameters, clip)
