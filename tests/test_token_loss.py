"""The loss of tokens in chunks, against torch's of all scores at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.recurrent import token_loss
from pipeline.recurrent.token_loss import (
    group_ends,
    log_probabilities,
    make_adaptive,
    sum_losses,
)

# float32, sums of some 100 numbers in another order.
CLOSE = 1e-5


def draw(num: int, *, size: int = 7, outputs: int = 13) -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    read = torch.randn(num, size, requires_grad=True)
    return nn.Linear(size, outputs), read, torch.randint(outputs, (num,))


@pytest.mark.parametrize("rows_per_chunk", [1, 4, 10, 100])
def test_loss_and_gradients_in_chunks_are_cross_entropy_s(
    monkeypatch: pytest.MonkeyPatch, rows_per_chunk: int
) -> None:
    readout, read, targets = draw(10)
    expected = F.cross_entropy(readout(read), targets, reduction="sum")
    wanted = torch.autograd.grad(0.3 * expected, (read, *readout.parameters()))
    monkeypatch.setattr(token_loss, "_SCORES_PER_CHUNK", 13 * rows_per_chunk)
    found = sum_losses(read, targets, readout=readout)
    torch.testing.assert_close(found, expected, atol=CLOSE, rtol=CLOSE)
    grads = torch.autograd.grad(0.3 * found, (read, *readout.parameters()))
    for grad, of_torch in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, of_torch, atol=CLOSE, rtol=CLOSE)
    logs = log_probabilities(read, targets, readout=readout)
    torch.testing.assert_close(-logs.sum(), expected, atol=CLOSE, rtol=CLOSE)


def test_the_scores_of_all_rows_never_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    plain = Tensor.log_softmax

    def count(scores: Tensor, dim: int) -> Tensor:
        sizes.append(scores.numel())
        return plain(scores, dim)

    monkeypatch.setattr(Tensor, "log_softmax", count)
    readout, read, targets = draw(1000, outputs=5000)
    torch.autograd.grad(sum_losses(read, targets, readout=readout), read)
    log_probabilities(read, targets, readout=readout)
    assert max(sizes) <= token_loss._SCORES_PER_CHUNK < 1000 * 5000


def test_under_autocast_the_products_are_bfloat16_and_the_loss_is_near() -> None:
    readout, read, targets = draw(200, size=64, outputs=300)
    exact = sum_losses(read, targets, readout=readout) / 200
    with torch.autocast("cpu", torch.bfloat16):
        rough = sum_losses(read, targets, readout=readout) / 200
    assert rough.dtype == torch.float32
    # bfloat16 has 8 bits: scores of about 0.6 are off by 0.002, of both signs.
    assert 0 < abs(float((rough - exact).detach())) < 2e-3


def test_an_adaptive_readout_gives_probabilities_that_sum_to_one() -> None:
    torch.manual_seed(0)
    readout = make_adaptive(8, 4500)
    assert readout.cutoffs == [*group_ends(4500), 4500] == [1000, 4000, 4500]
    read = torch.randn(3, 8)
    every = torch.arange(4500)
    for row in read:
        logs = log_probabilities(row.expand(4500, -1), every, readout=readout)
        assert float(logs.double().exp().sum()) == pytest.approx(1, abs=1e-4)
    targets = torch.tensor([3, 1200, 4400])
    found = sum_losses(read, targets, readout=readout)
    assert found.item() == pytest.approx(
        -log_probabilities(read, targets, readout=readout).sum().item(), rel=1e-5
    )


def test_an_adaptive_readout_of_few_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="expected more than 1000 outputs, found 1000"):
        make_adaptive(8, 1000)
