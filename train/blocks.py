"""Blocks of consecutive updates in one call of the kernel.

With batches of one sequence, as the np-RNN paper trains, Lightning's own work around an update
costs ten times the update. A block makes the very same updates, one after another.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from pipeline.recurrent import fused, updates
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.updated import NetWeights
from pipeline.runs import BatchSpec
from pipeline.sequences import SequenceBatch, SequenceBlock, SequenceSet
from pipeline.tasks import CLASSIFICATION
from train.optimizers import count_steps, share_state
from train.specs import ComputeSpec

# Sequences in a block: enough that what is paid once a block does not count.
_SEQUENCES_PER_BLOCK = 512
_MOST_BYTES = 64 << 20  # of a block's features
# Products of weights and numbers: of a block, which nothing can interrupt, some second's; and of an
# update as long as Lightning's work around it, beyond which several threads make it sooner alone.
_MOST_PRODUCTS = 1e10
_MOST_PRODUCTS_OF_UPDATE = 3e7
_CELLS = ("simple", "lstm")
_PARAMETERS = {
    "weight_ih": "recurrent.weight_ih_l0",
    "weight_hh": "recurrent.weight_hh_l0",
    "bias": "recurrent.bias_ih_l0",
    "weight_out": "readout.weight",
    "bias_out": "readout.bias",
}


def choose_updates_per_step(
    compute: ComputeSpec,
    batch: BatchSpec,
    *,
    net: SequenceNet,
    sequences: SequenceSet,
) -> int:
    """How many updates a training step makes: 1, or more where the kernel can do them.

    Raises ValueError when the config asks for more than 1 where it cannot.
    """
    reason = find_obstacle(compute, batch, net=net, sequences=sequences)
    if compute.updates_per_step == "auto":
        if reason:
            return 1
        return _count_updates(
            batch.batch_size, net=net, sequences=sequences, num_threads=compute.found_threads
        )
    asked = int(compute.updates_per_step)
    if asked > 1 and reason:
        raise ValueError(
            f"trainer.updates_per_step={asked}, but updates cannot be made in blocks: {reason}.\n"
            f"Pass trainer.updates_per_step=1, or auto."
        )
    return asked


def _count_updates(
    batch_size: int, *, net: SequenceNet, sequences: SequenceSet, num_threads: int
) -> int:
    """As many updates as a block has room for; 1 where updates one at a time are as fast."""
    steps = batch_size * float(sequences.lengths.double().mean())
    num_bytes = steps * net.spec.input_size * net.readout_weight.element_size()
    parameters = dict(net.named_parameters())
    products = steps * sum(
        parameters[_PARAMETERS[name]].numel() for name in ("weight_ih", "weight_hh")
    )
    if products > _MOST_PRODUCTS_OF_UPDATE and num_threads > 1:
        return 1  # a block is computed by one thread
    most = (
        _SEQUENCES_PER_BLOCK / batch_size, _MOST_BYTES / num_bytes, _MOST_PRODUCTS / products
    )  # fmt: skip
    return max(1, int(min(most)))


def find_obstacle(
    compute: ComputeSpec,
    batch: BatchSpec,
    *,
    net: SequenceNet,
    sequences: SequenceSet,
) -> str:
    """Why the kernel cannot make updates in blocks here, or ""."""
    spec = net.spec
    obstacles = {
        f"{spec.name} is neither a simple net nor an lstm": spec.kind.cell not in _CELLS,
        f"the recurrent matrix of {spec.name} is kept {spec.kind.kept}": spec.kind.kept != "",
        f"{spec.name} has {spec.layers} layers, not one": spec.layers > 1,
        f"{spec.name} is bidirectional": spec.bidirectional,
        f"readout is {spec.readout}, not last or mean": spec.readout not in ("last", "mean"),
        "h0 is learned": spec.h0 != "zero",
        "features are token numbers": spec.reads_tokens,
        "training runs on a GPU": compute.found_accelerator != "cpu",
        "training runs on several devices": compute.num_processes > 1,
        f"precision is {batch.precision}": batch.precision not in ("32-true", 32, "32"),
        f"the kernel is not available ({fused.unavailable_reason()})": not fused.is_available(),
    }
    return next((reason for reason, holds in obstacles.items() if holds), "")


def _draw_masks(net: SequenceNet, targets: Tensor) -> Tensor | None:
    """(K, b, H) dropout's factors, those that K updates one at a time would draw.

    One after another, as those: that one draw of all takes the same numbers is not promised.
    """
    if not (net.training and net.spec.dropped_share):
        return None
    num, batch, *_ = targets.shape
    ones = net.readout_weight.new_ones(batch, net.spec.read_size)
    return torch.stack([net.dropout(ones) for _ in range(num)])


def _list_batches(
    block: SequenceBatch | SequenceBlock, batch_size: int, *, net: SequenceNet
) -> updates.Batches:
    """The K batches of a block, with the masks that dropout draws for them."""
    if isinstance(block, SequenceBlock):
        targets = torch.stack([batch.targets for batch in block.batches])
        return updates.Batches(
            [_as_read(batch.features, net) for batch in block.batches],
            targets,
            lengths=torch.stack([batch.lengths for batch in block.batches]),
            masks=_draw_masks(net, targets),
        )
    num = block.num_sequences
    size = batch_size if num % batch_size == 0 else num
    features, targets = (
        tensor.view(num // size, size, *tensor.shape[1:])
        for tensor in (_as_read(block.features, net), block.targets)
    )
    return updates.Batches(features, targets, masks=_draw_masks(net, targets))


def _as_read(features: Tensor, net: SequenceNet) -> Tensor:
    """In the weights' type, or half precision, which the kernel reads as it is."""
    if features.dtype == torch.float16:
        return features
    return features.to(net.readout_weight.dtype)


def make_updates(
    net: SequenceNet,
    block: SequenceBatch | SequenceBlock,
    *,
    batch_size: int,
    kind: str,
    optimizer: torch.optim.Optimizer,
    clip: float | None,
    clip_by: Literal["norm", "value"] | None,
    loss_over_batch: Literal["mean", "sum"],
) -> tuple[Tensor, Tensor]:
    """Losses and gradient norms (K,) of the updates on the K batches in `block`, one after another.

    The net's weights and the optimizer's state are changed in place: that is what an update is.
    """
    batches = _list_batches(block, batch_size, net=net)
    named = dict(net.named_parameters())
    parameters = {name: named[of_net] for name, of_net in _PARAMETERS.items()}
    made = updates.run_updates(
        batches,
        readout="mean" if net.spec.readout == "mean" else "last",
        weights=NetWeights(**{name: p.detach() for name, p in parameters.items()}),
        optimizer=share_state(optimizer, parameters),
        clip=float("inf") if clip is None else clip,
        clip_by=clip_by or "norm",
        loss="cross_entropy" if kind == CLASSIFICATION else "squared_error",
        reduction=loss_over_batch,
        cell="lstm" if net.spec.kind.cell == "lstm" else net.spec.kind.nonlinearity,
    )  # fmt: skip
    count_steps(optimizer, int(made.losses.isfinite().sum()))
    losses = made.losses / (batches.targets.shape[1] if loss_over_batch == "sum" else 1)
    return losses, made.gradient_norms
