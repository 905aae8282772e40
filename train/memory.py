"""The memory that a training needs at least, before anything is allocated."""

from __future__ import annotations

import psutil

from pipeline.recurrent.counts import count_layer_entries
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import RunConfig

_FLOAT_BYTES = 4
# What an optimizer remembers of each weight.
_REMEMBERED = {"sgd": 0, "rmsprop": 1, "adam": 2}
# A sequence's name and length.
_SEQUENCE_BYTES = 100


def check_memory(config: RunConfig) -> None:
    """Raise ValueError where the training needs more memory than this machine has."""
    needed = estimate_bytes(config)
    total = psutil.virtual_memory().total
    if sum(needed.values()) > total:
        what = max(needed, key=lambda key: needed[key])
        raise ValueError(
            f"{what}: training needs at least {_write_bytes(sum(needed.values()))} of memory; "
            f"this machine has {_write_bytes(total)}.\nPass a smaller number."
        )


def estimate_bytes(config: RunConfig) -> dict[str, int]:
    """The least that training needs, in bytes, for each option that it grows with.

    Weights with gradients and what the optimizer remembers; a batch's inputs and states; names and
    lengths of sequences. Those of clips, which no option counts, are left out.
    """
    options = config.task.options
    sizes = dict(getattr(options, "sizes", {}))
    length, batch_size = getattr(options, "length", 1), config.batch.batch_size
    num_sequences = min(batch_size, sizes.get("train", 1))
    num_states = config.net.layers * config.net.num_directions * config.net.hidden_size
    steps = num_sequences * length * (config.net.input_size + num_states)
    copies = 2 + _REMEMBERED[config.optimizer.name]
    return {
        f"model.hidden_size={config.net.hidden_size}":
            _FLOAT_BYTES * copies * _count_weights(config.net),
        f"task.length={length} with trainer.batch_size={batch_size}": _FLOAT_BYTES * steps,
        f"task.num_train={sizes.get('train')}, task.num_val={sizes.get('val')}, "
        f"task.num_test={sizes.get('test')}": _SEQUENCE_BYTES * sum(sizes.values()),
    }  # fmt: skip


def _count_weights(net: NetSpec) -> int:
    """The entries of the matrices; biases, and vectors learned in a matrix's place, are few."""
    of_tokens = 0 if net.tied else net.num_outputs * net.embedding_size
    return count_layer_entries(net) + of_tokens + net.num_outputs * net.read_size


def _write_bytes(number: int) -> str:
    gigabytes = number / 1e9
    return f"{gigabytes:,.0f} GB" if gigabytes >= 10 else f"{gigabytes:.1f} GB"
