"""Texts as sequences, and the state of a net that is carried from cut to cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.recurrent.carried import CarriedState
from pipeline.recurrent.classifier import SequenceNet, build_net, num_parameters
from pipeline.recurrent.spec import NETS, NetSpec
from pipeline.recurrent.token_loss import sum_losses
from pipeline.sequences import SequenceBatch, StreamBatches, make_loader
from pipeline.tasks import NOT_SCORED, make_task
from pipeline.tasks.words import BLOCK_STEPS, WordsTask
from tests.tiny_texts import draw_text, write_texts

RECURRENT = [name for name, kind in NETS.items() if kind.cell != "none"]
# float32 over some hundred steps, in another order of the sums.
CLOSE = 1e-4


def make_words(folder: Path, **options: Any) -> WordsTask:
    task = make_task({"name": "words", "root": str(write_texts(folder)), **options})
    assert isinstance(task, WordsTask)
    return task


def make_net(name: str, task: WordsTask, **fields: Any) -> SequenceNet:
    spec = NetSpec(
        name, 1, task.num_outputs,
        **{"hidden_size": 6, "embedding_size": 5, "readout": "all", "dropout": 0.0, **fields},
    )  # fmt: skip
    return build_net(spec, seed=0)


def read_inputs(batch: SequenceBatch, row: int) -> list[int]:
    length = int(batch.lengths[row])
    return batch.features[row, :length, 0].tolist()


def read_targets(batch: SequenceBatch, row: int) -> list[int]:
    return [number for number in batch.targets[row].tolist() if number != NOT_SCORED]


def test_every_token_is_predicted_once_from_the_one_before_it(tmp_path: Path) -> None:
    task = make_words(tmp_path, steps=7)
    text = task.tokens("train").numbers.tolist()
    cuts = task.sequences("train")
    batch = cuts[range(len(cuts))]
    rows = range(len(cuts))
    assert [number for row in rows for number in read_targets(batch, row)] == text
    assert [number for row in rows for number in read_inputs(batch, row)] == [1, *text[:-1]]
    assert batch.lengths.tolist() == [7] * (len(text) // 7) + [len(text) % 7]


def test_sentences_are_the_lines_each_after_a_line_s_end(tmp_path: Path) -> None:
    task = make_words(tmp_path, protocol="sentences")
    lines = (tmp_path / "train.txt").read_text(encoding="utf-8").splitlines()
    names = task.vocabulary.tokens
    sentences = task.sequences("train")
    assert len(sentences) == len(lines)
    batch = sentences[[5, 0]]
    assert not batch.is_cut
    for row, place in enumerate((5, 0)):
        assert [names[number] for number in read_targets(batch, row)] == [
            *lines[place].split(), "<eos>"
        ]  # fmt: skip
        assert read_inputs(batch, row) == [1, *read_targets(batch, row)[:-1]]


def test_a_whole_text_in_one_line_is_no_sentence(tmp_path: Path) -> None:
    (tmp_path / "text8").write_text("a bc " * 20_000)
    section = {"name": "words", "root": str(tmp_path / "text8")}
    with pytest.raises(ValueError, match=r"lines of up to 10,000 tokens, found one of 36,002"):
        make_task({**section, "protocol": "sentences"}).sequences("train")
    assert len(make_task(section).sequences("train")) == 1029


@pytest.mark.parametrize(("num_cuts", "batch_size"), [(12, 4), (14, 4), (3, 4), (5, 1), (4, 4)])
def test_each_row_of_the_batches_reads_a_stretch_of_the_text_cut_after_cut(
    num_cuts: int, batch_size: int
) -> None:
    batches = list(StreamBatches(num_cuts, batch_size))
    assert len(batches) == len(StreamBatches(num_cuts, batch_size))
    for before, after in pairwise(batches):
        assert after == [place + 1 for place in before][: len(after)]
    assert sorted(place for batch in batches for place in batch) == list(range(num_cuts))
    assert len(batches[0]) == min(batch_size, num_cuts)


def test_a_share_of_an_epoch_is_the_first_of_every_stretch() -> None:
    whole = list(StreamBatches(40, 4))
    assert list(StreamBatches(40, 4, share=0.3)) == whole[:3]


@pytest.mark.parametrize("name", RECURRENT)
def test_a_text_in_cuts_is_read_as_the_uncut_one(tmp_path: Path, name: str) -> None:
    task = make_words(tmp_path, steps=5)
    net = make_net(name, task)
    cuts = task.sequences("train")
    text = torch.from_numpy(np.concatenate([[1], task.tokens("train").numbers])[None, :-1, None])
    length = torch.tensor([text.shape[1]])
    with torch.no_grad():
        whole, _ = net.advance_all(text, length, net.initial_state(1))
        carried, found = CarriedState(), []
        for batch in make_loader(cuts, 32, seed=None):
            state = carried.before(batch.indices, net.initial_state(1))
            read, after = net.advance_all(batch.features, batch.lengths, state)
            carried.keep(batch.indices, after)
            found.append(read[0])
    torch.testing.assert_close(torch.cat(found)[None], whole, atol=CLOSE, rtol=CLOSE)
    fresh, _ = net.advance_all(*_last(cuts), net.initial_state(1))
    assert not torch.allclose(fresh, whole[:, -fresh.shape[1] :], atol=CLOSE)


def _last(cuts: Any) -> tuple[torch.Tensor, torch.Tensor]:
    batch = cuts[[len(cuts) - 2]]
    return batch.features, batch.lengths


@pytest.mark.parametrize("name", ["irnn", "lstm"])
def test_the_streams_of_a_batch_are_carried_each_by_itself(tmp_path: Path, name: str) -> None:
    task = make_words(tmp_path, steps=5)
    net, cuts, carried = make_net(name, task), task.sequences("train"), CarriedState()
    found: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        for batch in make_loader(cuts, 3, seed=0):
            initial = net.initial_state(len(batch.indices))
            state = carried.before(batch.indices, initial)
            read, after = net.advance_all(batch.features, batch.lengths, state)
            carried.keep(batch.indices, after)
            found |= dict(zip(batch.indices.tolist(), read, strict=True))
        for first, last in _find_stretches(len(cuts), 3):
            rows = [cuts[[place]] for place in range(first, last)]
            text = torch.cat([row.features for row in rows], dim=1)
            length = torch.tensor([text.shape[1]])
            whole, _ = net.advance_all(text, length, net.initial_state(1))
            of_cuts = torch.cat([found[place] for place in range(first, last)])[: len(whole[0])]
            torch.testing.assert_close(of_cuts, whole[0], atol=CLOSE, rtol=CLOSE)


def _find_stretches(num_cuts: int, num: int) -> list[tuple[int, int]]:
    starts = next(iter(StreamBatches(num_cuts, num)))
    return list(zip(starts, [*starts[1:], num_cuts], strict=True))


def test_no_gradient_passes_from_a_cut_to_the_one_before(tmp_path: Path) -> None:
    task = make_words(tmp_path, steps=5)
    net, cuts, carried = make_net("irnn", task), task.sequences("train"), CarriedState()
    batch = cuts[[0]]
    _, after = net.advance_all(batch.features, batch.lengths, net.initial_state(1))
    assert after.hidden.requires_grad
    carried.keep(batch.indices, after)
    assert not carried.before(torch.tensor([1]), net.initial_state(1)).hidden.requires_grad


def test_a_row_that_does_not_go_on_begins_anew(tmp_path: Path) -> None:
    net, carried = make_net("lstm", make_words(tmp_path)), CarriedState()
    initial = net.initial_state(3)
    carried.keep(torch.tensor([4, 9, 20]), initial._replace(hidden=initial.hidden + 1))
    found = carried.before(torch.tensor([5, 11, 21]), initial).hidden
    assert found.mean(dim=1).tolist() == [1, 0, 1]
    assert carried.before(torch.tensor([10, 4]), net.initial_state(2)).hidden.sum() == 0


def test_token_numbers_pass_through_vectors_as_one_hot_inputs_through_a_matrix(
    tmp_path: Path,
) -> None:
    task = make_words(tmp_path)
    net = make_net("np-rnn", task)
    assert net.embedding is not None
    table = net.embedding.weight
    plain = build_net(NetSpec("np-rnn", 5, task.num_outputs, 6, readout="all", dropout=0.0), seed=0)
    weights = {k: w for k, w in net.state_dict().items() if k != "embedding.weight"}
    plain.load_state_dict(weights)
    batch = task.sequences("val")[[0]]
    one_hot = torch.nn.functional.one_hot(batch.features[..., 0].long(), task.num_outputs).float()
    torch.testing.assert_close(
        net(batch.features, batch.lengths), plain(one_hot @ table, batch.lengths)
    )


def test_a_tied_net_has_one_table_which_learns_from_both_ends(tmp_path: Path) -> None:
    task = make_words(tmp_path)
    tied, free = (
        make_net("irnn", task, embedding_size=6, tied=is_tied) for is_tied in (True, False)
    )
    assert num_parameters(free) - num_parameters(tied) == 6 * task.num_outputs
    assert "embedding.weight" not in tied.state_dict()
    batch = task.sequences("val")[[0]]
    read, _ = tied.advance_all(batch.features, batch.lengths, tied.initial_state(1))
    # A loss of what is read alone: it reaches the table only as vectors of the inputs.
    (grad,) = torch.autograd.grad(read.sum(), [tied.readout_weight])
    is_input = torch.zeros(task.num_outputs, dtype=torch.bool)
    is_input[batch.features.flatten().long()] = True
    assert torch.equal(grad.abs().sum(dim=1) > 0, is_input)


def test_dropout_acts_on_the_vectors_and_on_what_is_read(tmp_path: Path) -> None:
    task = make_words(tmp_path)
    net = make_net("irnn", task, dropout=0.5).train()
    embedded = net._embed(task.sequences("val")[[0]].features)
    assert 0.3 < float((embedded == 0).float().mean()) < 0.7
    assert (net.eval()._embed(task.sequences("val")[[0]].features) != 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tied": True}, "found 5 and 6"),
        ({"readout": "last"}, "answers at every step, found irnn with readout=last"),
        ({"embedding_size": 0, "tied": True}, "model.tied is about tokens"),
        ({"embedding_size": 0, "softmax": "adaptive"}, "model.softmax=adaptive is about tokens"),
        ({"embedding_size": -1}, "expected a whole number from 0 up"),
        ({"embedding_size": 6, "tied": True, "softmax": "adaptive"}, "expected model.softmax=full"),
    ],
)
def test_a_net_that_cannot_read_tokens_is_refused(fields: dict[str, Any], message: str) -> None:
    given = {"hidden_size": 6, "embedding_size": 5, "readout": "all", **fields}
    with pytest.raises(ValueError, match=message):
        NetSpec("irnn", 1, 9, **given)


def test_cuts_of_other_parts_are_long_and_the_loss_is_that_of_any_length(tmp_path: Path) -> None:
    task = make_words(tmp_path, steps=5)
    long, short = task.sequences("val"), make_words(tmp_path, steps=3).sequences("train")
    assert int(long.lengths.max()) <= BLOCK_STEPS
    net = make_net("gru", task)
    totals = []
    for cuts in (task.sequences("train"), short):
        total, carried = 0.0, CarriedState()
        for batch in make_loader(cuts, 8, seed=None):
            state = carried.before(batch.indices, net.initial_state(1))
            read, after = net.advance_all(batch.features, batch.lengths, state)
            carried.keep(batch.indices, after)
            scored = batch.targets != NOT_SCORED
            loss = sum_losses(read[scored], batch.targets[scored], readout=net.readout)
            total += loss.item()
        totals.append(total)
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


def test_the_vocabulary_that_a_run_kept_is_taken_whatever_train_says_now(tmp_path: Path) -> None:
    task = make_words(tmp_path)
    kept = task.kept()
    (tmp_path / "train.txt").unlink()
    (tmp_path / "valid.txt").unlink()
    section = {"name": "words", "root": str(tmp_path)}
    again = make_task(section, kept=kept)
    assert again.origin == task.origin
    assert len(again.sequences("test")) == len(task.sequences("test"))
    with pytest.raises(ValueError, match="expected a text to train on, found none among its files"):
        make_task(section)


@pytest.mark.parametrize(
    ("content", "message"),
    [({"train": "\n \n"}, "expected a train text, found nothing but empty lines"), ({}, "")],
)
def test_a_text_without_words_is_refused(
    tmp_path: Path, content: dict[str, str], message: str
) -> None:
    write_texts(tmp_path)
    for name, text in content.items():
        (tmp_path / f"{name}.txt").write_text(text)
    task = make_task({"name": "words", "root": str(tmp_path)})
    if message:
        with pytest.raises(ValueError, match=message):
            task.sequences("train")
    else:
        assert len(task.sequences("train")) > 0


def test_a_vocabulary_larger_than_the_text_is_all_of_it_and_said(tmp_path: Path) -> None:
    task = make_words(tmp_path, vocabulary=50)
    assert task.num_outputs == len(set(draw_text(60, 0).split())) + 2
    assert any("task.vocabulary=50 asks for more" in note for note in task.notes())
    assert not any("asks for more" in note for note in make_words(tmp_path, vocabulary=5).notes())
