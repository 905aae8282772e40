"""Kneser-Ney, against the equations of Chen & Goodman with plain dictionaries."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eval.predictions.ngrams import KneserNey, unigram_logs
from pipeline.tasks import make_task
from pipeline.tasks.words import WordsTask

SIZE, BEGIN = 9, 9
Gram = tuple[int, ...]


def draw_text(num_lines: int, seed: int) -> list[int]:
    draw, text = random.Random(seed), []
    for _ in range(num_lines):
        word = draw.randrange(2, SIZE)
        for _ in range(draw.randint(0, 7)):
            text.append(word)
            word = 2 + (word * 2 + int(draw.random() ** 2 * 4)) % (SIZE - 2)
        text.append(1)
    return text


def split_lines(text: Sequence[int]) -> list[list[int]]:
    lines, line = [], [BEGIN]
    for token in text:
        line.append(token)
        if token == 1:
            lines.append(line)
            line = [BEGIN]
    return lines + ([line] if len(line) > 1 else [])


class ByHand:
    """p(w | h) = (a(hw) - D(a(hw))) / Σ a(h·) + γ(h) p(w | h'), recursively."""

    def __init__(self, text: Sequence[int], order: int) -> None:
        self.order = order
        raw: Counter[Gram] = Counter()
        for line in split_lines(text):
            for end in range(1, len(line) + 1):
                raw.update(tuple(line[s:end]) for s in range(max(0, end - order), end))
        self.counts: dict[Gram, int] = {}
        for gram, count in raw.items():
            if gram == (BEGIN,):
                continue
            is_raw = len(gram) == order or gram[0] == BEGIN
            unlike = sum(1 for other in raw if len(other) == len(gram) + 1 and other[1:] == gram)
            self.counts[gram] = count if is_raw else unlike
        self.discounts = {n: self._discount(n) for n in range(1, order + 1)}

    def _discount(self, length: int) -> list[float]:
        counts = [count for gram, count in self.counts.items() if len(gram) == length]
        n1, n2, n3, n4 = (counts.count(times) for times in (1, 2, 3, 4))
        if 0 in (n1, n2, n3, n4):
            return [0, 0.5, 1, 1.5]
        y = n1 / (n1 + 2 * n2)
        found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return [0, *(min(max(d, 0), n) for n, d in enumerate(found, start=1))]

    def share(self, history: Gram, word: int) -> float:
        below = self.share(history[1:], word) if history else 1 / SIZE
        discount = self.discounts[len(history) + 1]
        after = {g[-1]: c for g, c in self.counts.items() if g[:-1] == history and g}
        total = sum(after.values())
        if total == 0:
            return below
        own = after.get(word, 0)
        left = sum(discount[min(count, 3)] for count in after.values())
        return (own - discount[min(own, 3)] + left * below) / total

    def logs(self, text: Sequence[int]) -> list[float]:
        return [
            math.log(self.share(tuple(line[max(0, at - self.order + 1) : at]), line[at]))
            for line in split_lines(text)
            for at in range(1, len(line))
        ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_model_is_that_of_the_equations(order: int) -> None:
    train, text = draw_text(40, 0), draw_text(15, 1)
    found = KneserNey(np.array(train), size=SIZE, order=order).logs(np.array(text))
    np.testing.assert_allclose(found, ByHand(train, order).logs(text), rtol=1e-9)


def test_shares_sum_to_one_after_any_history() -> None:
    model = KneserNey(np.array(draw_text(40, 0)), size=SIZE)
    for history in ([], [5], [4, 4, 4, 4, 4], [8, 2, 3]):
        shares = [model.logs(np.array([*history, word]))[-1] for word in range(SIZE)]
        assert np.exp(shares).sum() == pytest.approx(1, abs=1e-9)


def test_a_token_that_was_never_counted_has_a_share() -> None:
    counts = np.array([0, 10, 5])
    logs = unigram_logs(counts, np.array([0, 1, 2]))
    np.testing.assert_allclose(np.exp(logs), np.array([1, 11, 6]) / 18)
    assert np.isfinite(KneserNey(np.array([2, 1, 2, 1]), size=4).logs(np.array([3, 0, 1]))).all()


def test_penn_treebank_has_the_perplexity_that_is_known(data_root: Path) -> None:
    task = make_task({"name": "words", "root": str(data_root / "text" / "ptb")})
    assert isinstance(task, WordsTask)
    train, text = task.tokens("train").numbers, task.tokens("test").numbers
    logs = KneserNey(train.astype(np.int64), size=10_000).logs(text.astype(np.int64))
    # 141.2 in Mikolov's tables (2010-2012) of SRILM's 5-gram.
    assert np.exp(-logs.mean()) == pytest.approx(141.2, abs=0.1)
