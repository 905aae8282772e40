"""What counting says of a text: each token's probability by itself, and after the four before it.

Interpolated Kneser-Ney with three discounts of each order (Chen & Goodman 1999, section 4), from
the counts of all n-grams of the training text, none left out. As in SRILM and KenLM a line begins
after one mark of its beginning, which is not predicted, and ends with END, which is; n-grams that
begin with the mark keep their own counts in the lower orders, as nothing can stand before them.

N-grams are numbered: one of n tokens is the number of its first n - 1 and its last token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.texts.vocabulary import END_NUMBER

ORDER = 5
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def unigram_logs(counts: Ints, text: Ints) -> Floats:
    """(N,) log probabilities of a text's tokens by their shares of `counts`, each once more.

    So one that was not counted is not impossible.
    """
    smoothed = counts + 1.0
    logs: Floats = np.log(smoothed / smoothed.sum())[text]
    return logs


@dataclass(frozen=True)
class _Order:
    """The n-grams of one order in train, sorted by `keys`: of context and last token.

    `discounted` (N,) are their counts less the discount over the sum of their context's, `left`
    the share of each context that is left for the order below.
    """

    keys: Ints
    discounted: Floats
    left: Floats


class KneserNey:
    """A model of `order`-grams of a text, made of token numbers below `size`."""

    def __init__(self, train: Ints, *, size: int, order: int = ORDER) -> None:
        self._size = size
        padded, places = _begin_lines(train, size)
        self._orders = [
            _estimate(*counted, num_contexts=num)
            for counted, num in _count_orders(padded, places, size=size, order=order)
        ]

    def logs(self, text: Ints) -> Floats:
        """(N,) log probabilities of a text's tokens, each after those before it in its line."""
        padded, places = _begin_lines(text, self._size)
        is_token = places > 0
        shares = np.full(len(padded), 1.0 / self._size)
        grams = np.zeros(len(padded), np.int64)  # the empty n-gram before each token
        for place, order in enumerate(self._orders):
            contexts = _shift(grams, fill=-1) if place else grams
            has_context = (contexts >= 0) & (places >= place)
            at = contexts.clip(min=0)
            grams, is_seen = _find(order.keys, at * (self._size + 1) + padded)
            grams = np.where(is_seen & has_context, grams, -1)
            own = np.where(grams >= 0, order.discounted[grams.clip(min=0)], 0.0)
            shares = np.where(has_context & is_token, own + order.left[at] * shares, shares)
        logs: Floats = np.log(shares[is_token])
        return logs


def _begin_lines(text: Ints, size: int) -> tuple[Ints, Ints]:
    """The text with the number `size` before each line, and each token's place in its line."""
    text = np.asarray(text, np.int64)
    starts = np.flatnonzero(np.append(True, text[:-1] == END_NUMBER))
    padded = np.insert(text, starts, size)
    begins = starts + np.arange(len(starts))
    lengths = np.diff(np.append(begins, len(padded)))
    return padded, np.arange(len(padded)) - np.repeat(begins, lengths)


def _shift(values: Ints, *, fill: int) -> Ints:
    return np.concatenate([[fill], values[:-1]])


def _find(keys: Ints, wanted: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Where each of `wanted` stands in the sorted keys, and whether it is there."""
    found = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return found, keys[found] == wanted


Counted = tuple[Ints, Ints, Ints]


def _count_orders(
    padded: Ints, places: Ints, *, size: int, order: int
) -> list[tuple[Counted, int]]:
    """Of each order keys, contexts and counts of its n-grams, and the number of contexts.

    The counts are those of what stands before an n-gram, unlike ones: how often it goes on from
    another context; at the last order, and after the beginning of a line, how often it occurs.
    """
    grams, num_contexts = np.zeros(len(padded), np.int64), 1
    found: list[tuple[Counted, int]] = []
    raw_of_below, firsts_of_below, grams_of_below = None, None, None
    for place in range(order):
        is_whole = places >= place
        if not is_whole.any():
            break  # no line is as long
        contexts = _shift(grams, fill=0) if place else grams
        keys, firsts, inverse, raw = np.unique(
            (contexts * (size + 1) + padded)[is_whole],
            return_index=True, return_inverse=True, return_counts=True,
        )  # fmt: skip
        where = np.flatnonzero(is_whole)
        grams = np.zeros(len(padded), np.int64)
        grams[where] = inverse
        if place:
            # Each unlike n-gram says once of the one within it, without its first token, that it
            # goes on from somewhere.
            assert grams_of_below is not None
            assert raw_of_below is not None
            assert firsts_of_below is not None
            counts = np.bincount(grams_of_below[where[firsts]], minlength=len(raw_of_below))
            begins = places[firsts_of_below] == place - 1
            _replace_counts(found, np.where(begins, raw_of_below, counts))
        found.append(((keys, keys // (size + 1), raw), num_contexts))
        raw_of_below, firsts_of_below, grams_of_below = raw, where[firsts], grams
        num_contexts = len(keys)
    return [(_drop_marks(counted, size), num) for counted, num in found]


def _replace_counts(found: list[tuple[Counted, int]], counts: Ints) -> None:
    (keys, contexts, _), num = found[-1]
    found[-1] = (keys, contexts, counts), num


def _drop_marks(counted: Counted, size: int) -> Counted:
    """The mark of a line's beginning is never predicted: it counts nothing, and stays findable."""
    keys, contexts, counts = counted
    return keys, contexts, np.where(keys % (size + 1) == size, 0, counts)


def _estimate(keys: Ints, contexts: Ints, counts: Ints, *, num_contexts: int) -> _Order:
    discounts = _discounts(counts)
    of_each = discounts[counts.clip(max=3)]
    sums = np.bincount(contexts, counts.astype(np.float64), minlength=num_contexts)
    taken = np.bincount(contexts, of_each, minlength=num_contexts)
    left = np.divide(taken, sums, out=np.ones_like(sums), where=sums > 0)
    of_context = np.where(sums > 0, sums, 1.0)[contexts]
    return _Order(keys, (counts - of_each) / of_context, left)


def _discounts(counts: Ints) -> Floats:
    """(4,) what is taken of an n-gram counted 0, 1, 2, 3 or more times (Chen & Goodman, eq. 17).

    Where a small text has none that is counted 1, 2, 3 or 4 times the formula has no value, and
    what is taken is 0.5, 1, 1.5.
    """
    n = np.array([(counts == times).sum() for times in range(1, 5)], np.float64)
    if (n == 0).any():
        return np.array([0.0, 0.5, 1.0, 1.5])
    share = n[0] / (n[0] + 2 * n[1])
    ideal = np.array([times - (times + 1) * share * n[times] / n[times - 1] for times in (1, 2, 3)])
    return np.concatenate([[0.0], ideal.clip(0.0, [1.0, 2.0, 3.0])])
