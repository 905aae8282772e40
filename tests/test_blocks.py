"""How many updates a block takes where the config leaves it open."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from pipeline.recurrent import fused
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NetSpec
from pipeline.runs import BatchSpec
from pipeline.sequences import SequenceSet
from train.blocks import choose_updates_per_step
from train.specs import ComputeSpec

COMPUTE = ComputeSpec(
    num_workers=0, threads="auto", updates_per_step="auto", accelerator="cpu", devices=1,
    num_nodes=1, strategy="auto",
)  # fmt: skip


class Lengths:
    """Sequences of which nothing but their lengths is asked."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = torch.tensor(lengths)


def choose(batch_size: int, lengths: Lengths, **of_net: Any) -> int:
    batch = BatchSpec(
        batch_size=batch_size, loss_over_batch="mean", keep="last", precision="32-true"
    )
    net: dict[str, Any] = {"name": "np-rnn", "input_size": 2, "num_outputs": 1} | of_net
    sequences = cast(SequenceSet, lengths)
    return choose_updates_per_step(
        COMPUTE, batch, net=build_net(NetSpec(**net), seed=0), sequences=sequences
    )


ADDITION, CLIPS = Lengths(150), Lengths(100, 260)


@pytest.mark.skipif(not fused.is_available(), reason="the kernel is not built here")
@pytest.mark.parametrize(
    ("num_threads", "expected"),
    [
        # 512 sequences; 64 MiB of 180 steps of 1024 numbers, 91 clips; an update as long as
        # Lightning's own work around it, where other threads would share it.
        (1, {"addition": [512, 32, 8], "clips": [91, 22, 5, 1], "wide": [16]}),
        (2, {"addition": [512, 32, 1], "clips": [91, 1, 1, 1], "wide": [1]}),
    ],
)
def test_a_block_ends_at_its_sequences_bytes_or_products(
    monkeypatch: pytest.MonkeyPatch, num_threads: int, expected: dict[str, list[int]]
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    clips = {"input_size": 1024, "num_outputs": 101}
    found = {
        "addition": [choose(size, ADDITION) for size in (1, 16, 64)],
        "clips": [choose(size, CLIPS, **clips) for size in (1, 4, 16, 64)],
        # 4 x 1000 units: 4,008,000 products a step and some 6e8 an update, 10e9 a block.
        "wide": [choose(1, ADDITION, name="lstm", hidden_size=1000)],
    }
    assert found == expected
