"""From a net and a text to the log probabilities of its stretches, beside those of counting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from eval.predictions.ngrams import ORDER, KneserNey, unigram_logs
from pipeline.recurrent.carried import CarriedState
from pipeline.recurrent.classifier import SequenceNet
from pipeline.recurrent.token_loss import log_probabilities
from pipeline.sequences import SequenceSet, make_loader
from pipeline.tasks import NOT_SCORED
from pipeline.tasks.words import WordsTask

UNIGRAM = "unigram"
KNESER_NEY = f"kneser-ney-{ORDER}"
_MOST_COUNTED = 20_000_000
"""Tokens of a training text whose n-grams are counted, in some 4 GB of memory."""


@dataclass(frozen=True, eq=False)
class Counted:
    """Of each stretch of a text its tokens, the unknown ones, and its log probability by floors."""

    targets: NDArray[np.float32]
    floors: tuple[str, ...]
    logs: NDArray[np.float32]


def count_part(task: WordsTask, part: str) -> Counted:
    """What counting says of a part. Without its training text, or of a very long one, the unigram
    alone.
    """
    tokens, sequences = task.tokens(part), task.sequences(part)
    text = np.asarray(tokens.numbers, np.int64)
    logs = {UNIGRAM: unigram_logs(task.vocabulary.counts, text)}
    total = int(task.vocabulary.counts.sum())
    if task.has("train") and total <= _MOST_COUNTED:
        train = np.asarray(task.tokens("train").numbers, np.int64)
        logs[KNESER_NEY] = KneserNey(train, size=len(task.vocabulary)).logs(text)
    lengths = sequences.lengths.numpy()
    starts = np.cumsum(lengths) - lengths
    sums = [np.add.reduceat(of_tokens, starts) for of_tokens in logs.values()]
    targets = np.stack([lengths, sequences.count_unknown()], axis=1)
    return Counted(
        targets.astype(np.float32), tuple(logs), np.stack(sums, axis=1).astype(np.float32)
    )


@torch.inference_mode()
def sum_logs(
    net: SequenceNet, sequences: SequenceSet, *, batch_size: int, device: str
) -> NDArray[np.float32]:
    """(N,) the log probability of each sequence, of cuts after all those before them."""
    net = net.to(device).eval()
    carried, sums, places = CarriedState(), [], []
    for batch in make_loader(sequences, batch_size, seed=None):
        given = batch.to(device)
        initial = net.initial_state(len(given.indices))
        state = carried.before(given.indices, initial) if given.is_cut else initial
        read, after = net.advance_all(given.features, given.lengths, state)
        carried.keep(given.indices, after)
        is_scored = given.targets != NOT_SCORED
        logs = torch.zeros(is_scored.shape, device=device)
        found = log_probabilities(read[is_scored], given.targets[is_scored], readout=net.readout)
        logs[is_scored] = found.float()
        sums.append(logs.double().sum(dim=1).float().cpu())
        places.append(batch.indices)
    order = torch.argsort(torch.cat(places))
    summed: NDArray[np.float32] = torch.cat(sums)[order].numpy()
    return summed
