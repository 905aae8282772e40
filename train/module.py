"""The LightningModule: one training step for every task and net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.metrics import WITHIN
from pipeline.recurrent.carried import CarriedState
from pipeline.recurrent.classifier import SequenceNet, build_net
from pipeline.recurrent.spec import NetSpec
from pipeline.recurrent.token_loss import sum_losses
from pipeline.runs import OptimizerSpec, ScheduleSpec
from pipeline.sequences import SequenceBatch, SequenceBlock
from pipeline.tasks import CLASSIFICATION, LANGUAGE, NOT_SCORED
from train.blocks import make_updates
from train.optimizers import make_optimizer, make_scheduler

FILLER = -1
"""The index of a sequence that counts for nothing, in a batch smaller than the number of ranks."""


# Far more than the seeds of one rank's epochs.
_SEEDS_OF_A_RANK = 2**48


class DivergedError(Exception):
    """Training left the finite numbers; the message says where and what to try."""


class SequenceModule(pl.LightningModule):
    """Trains a net to give each sequence its target: cross entropy, or squared error.

    Of a language the loss is that of all tokens of a batch, and a cut of a stream begins in the
    state that the one before ended in.

    With `block_batch_size`, a training step makes one update for each batch of that size in the
    block that it is given, all in one call of the kernel (see train/blocks.py). With several ranks
    each is given its share of a batch (see train/ranks.py), and the loss is of the whole batch.

    A checkpoint holds the specs as plain values, of which `load_from_checkpoint` makes it again:
    `SequenceModule.load_from_checkpoint("runs/a/checkpoints/best.ckpt").net`.
    """

    def __init__(
        self,
        net: SequenceNet | Mapping[str, Any],
        *,
        kind: str,
        optimizer: OptimizerSpec | Mapping[str, Any],
        schedule: ScheduleSpec | Mapping[str, Any],
        loss_over_batch: Literal["mean", "sum"],
        seed: int,
        block_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(net, Mapping):
            net = build_net(NetSpec(**net), seed=seed)
        if isinstance(optimizer, Mapping):
            optimizer = OptimizerSpec(**optimizer)
        if isinstance(schedule, Mapping):
            schedule = ScheduleSpec(**schedule)
        self.save_hyperparameters({
            "net": asdict(net.spec), "kind": kind, "optimizer": asdict(optimizer),
            "schedule": asdict(schedule), "loss_over_batch": loss_over_batch, "seed": seed,
            "block_batch_size": block_batch_size,
        })  # fmt: skip
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
        self._carried = CarriedState()

    def on_fit_start(self) -> None:
        # Vanishing gradients become subnormal numbers, which are slow on a CPU.
        torch.set_flush_denormal(True)

    def on_train_batch_start(self, batch: SequenceBatch | SequenceBlock, batch_index: int) -> None:
        # Dropout then depends on the epoch and the rank alone, so that a resumed training repeats
        # it. Not when the epoch starts: making the loader's iterator draws a number first, but
        # only sometimes.
        if batch_index == 0:
            self._carried = CarriedState()
            of_rank = self.global_rank * _SEEDS_OF_A_RANK
            torch.manual_seed(of_rank + self._seed * 1_000_003 + self.current_epoch)

    def training_step(
        self, batch: SequenceBatch | SequenceBlock, batch_index: int
    ) -> Tensor | None:
        if self._block_batch_size is not None:
            self._make_block(batch, self._block_batch_size)
            return None
        assert isinstance(batch, SequenceBatch)
        if self._kind == LANGUAGE:
            return self._learn_language(batch)
        losses = self._losses(*self._answer(batch))
        # Every rank knows the loss of the whole batch, so that all stop in the same update.
        mean, num = self._average(losses.detach())
        self._check_finite(mean)
        self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=num, sync_dist=True)
        # DDP divides the sum of the ranks' gradients by their number.
        loss = losses.sum() * self.trainer.world_size
        return loss if self._loss_over_batch == "sum" else loss / num

    def _check_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise DivergedError(self._describe_divergence(float(loss)))
        self.num_updates += 1

    def _learn_language(self, batch: SequenceBatch) -> Tensor:
        total, num = self._sum_tokens(batch)
        of_all, num_of_all = self._add(total.detach(), num)
        mean = of_all / num_of_all
        self._check_finite(mean)
        self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=num_of_all)
        loss = total * self.trainer.world_size
        return loss if self._loss_over_batch == "sum" else loss / num_of_all

    def _sum_tokens(self, batch: SequenceBatch) -> tuple[Tensor, int]:
        """The summed loss of the tokens of a batch, and their number; of a rank's filler none."""
        places = batch.indices
        initial = self.net.initial_state(len(places))
        state = self._carried.before(places, initial) if batch.is_cut else initial
        read, after = self.net.advance_all(batch.features, batch.lengths, state)
        self._carried.keep(places, after)
        is_scored = (batch.targets != NOT_SCORED) & (places != FILLER)[:, None]
        read = self.net.dropout(read[is_scored])
        total = sum_losses(read, batch.targets[is_scored], readout=self.net.readout)
        return total, int(is_scored.sum())

    def _add(self, total: Tensor, num: int) -> tuple[Tensor, int]:
        """The sums over all ranks."""
        if self.trainer.world_size == 1:
            return total, num
        own = torch.stack([total.double(), total.new_tensor(num, dtype=torch.float64)])
        of_all, num_of_all = self.trainer.strategy.reduce(own, reduce_op="sum")
        return of_all.to(total.dtype), int(num_of_all)

    def _make_block(self, block: SequenceBatch | SequenceBlock, batch_size: int) -> None:
        optimizer: Any = self.optimizers()
        losses, norms = make_updates(
            self.net, block, batch_size=batch_size, kind=self._kind,
            optimizer=optimizer.optimizer, clip=self._optimizer.clip,
            clip_by=self._optimizer.clip_by, loss_over_batch=self._loss_over_batch,
        )  # fmt: skip
        is_finite = torch.isfinite(losses)
        num_made = int(is_finite.cumprod(0).sum())
        self.num_updates += num_made
        if num_made:
            self._gradient_norm = float(norms[num_made - 1])
        if num_made < len(losses):
            raise DivergedError(self._describe_divergence(float(losses[num_made])))
        mean = losses.mean()
        self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=block.num_sequences)
        optimizer.step()  # there are no gradients: it only counts, so that Lightning sees progress

    def on_train_epoch_end(self) -> None:
        if not self.automatic_optimization:
            scheduler: Any = self.lr_schedulers()
            scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["num_updates"] = self.num_updates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.num_updates = checkpoint["num_updates"]

    def on_validation_epoch_start(self) -> None:
        self._carried = CarriedState()

    def validation_step(self, batch: SequenceBatch, batch_index: int) -> None:
        if self._kind == LANGUAGE:
            total, num = self._add(*self._sum_tokens(batch))
            self.log("val_loss", total / num, batch_size=num)
            return
        outputs, targets = self._answer(batch)
        loss, num = self._average(self._losses(outputs, targets))
        self.log("val_loss", loss, batch_size=num, sync_dist=True)
        if self._kind == CLASSIFICATION:
            hits = outputs.argmax(dim=-1) == targets
            share, _ = self._average(hits.float()[targets != NOT_SCORED])
            self.log("val_accuracy", share, batch_size=num, sync_dist=True)
        else:
            share, _ = self._average(((outputs - targets).abs() < WITHIN).float())
            self.log("val_within", share, batch_size=num, sync_dist=True)

    def _answer(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """The outputs and targets of the sequences that count: of a rank's filler, none."""
        outputs = self.net(batch.features, batch.lengths)
        if self.trainer.world_size == 1:
            return outputs, batch.targets
        counts = batch.indices != FILLER
        return outputs[counts], batch.targets[counts]

    def _average(self, values: Tensor) -> tuple[Tensor, int]:
        """The mean of the values of all ranks, and the number of rows that they have together."""
        if self.trainer.world_size == 1:
            return values.mean(), len(values)
        own = (values.sum().double(), values.new_tensor(values.numel(), dtype=torch.float64),
               values.new_tensor(len(values), dtype=torch.float64))  # fmt: skip
        total, num, num_rows = self.trainer.strategy.reduce(torch.stack(own), reduce_op="sum")
        return (total / num).to(values.dtype), int(num_rows)

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
