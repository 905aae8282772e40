"""Classes told apart two by two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval.__main__ import main
from eval.predictions.predictions import Predictions
from eval.scores.pairs import parse_pairs, score_pairs
from pipeline.tasks import PartUse
from tests.tiny_runs import write_run, write_store

LABELS = ("Brightens", "Darkens", "Grows", "Shrinks", "Spins")
PAIRS = parse_pairs(["Grows/Shrinks", "Brightens/Darkens"])


def test_pair_accuracy_looks_only_at_the_two_outputs_of_a_pair() -> None:
    targets = [LABELS.index(label) for label in ("Grows", "Shrinks", "Brightens", "Spins")]
    outputs = np.zeros((4, len(LABELS)), dtype=np.float32)
    outputs[:, LABELS.index("Spins")] = 9  # the best, and no matter
    outputs[:3, LABELS.index("Grows")] = 1  # right, wrong, and no matter
    ids = ("a", "b", "c", "d")
    use = PartUse(num_listed=4, used=ids)
    sources = ("Grows/g01", "Shrinks/g01", "Brightens/g02", "Spins/g02")
    predictions = Predictions(LABELS, outputs, np.array(targets), sources, use)
    found = score_pairs([predictions], PAIRS)
    assert found is not None
    score, num = found
    assert num == 3
    assert score.estimate.value == pytest.approx(1 / 3)  # a tie is no hit
    assert score.floor == pytest.approx(2 / 3)  # one clip of each of a pair, and one alone


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bow"], "expected two classes such as Grows/Shrinks, found 'bow'"),
        (["bow/bow"], "expected two classes"),
        (["bow/climb", "run/bow"], "expected each class in one pair, found bow in several"),
        (["bow/clim"], "clim"),
    ],
)
def test_pairs_that_cannot_be_are_refused_before_the_work(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", write_store(tmp_path / "features" / "tiny"))
    assert main(["--run", str(tmp_path / "run"), "--pairs", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / "eval").exists()
