"""The ledger: lines are kept whole, once each, and damage is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from papers.reproduction.lines import SHIPPED, Line, add_lines, read_lines

LINE = Line(
    experiment="addition-irnn-150", settings="model.input_scale=hidden", data="", seed=0,
    budget=1.0, state="scored", validation=0.98, test=0.979, low=0.976,
    high=0.982, floor=0.0784, epochs=10, seconds=86.1,
    digest="4cc241a0", version="0.1.0 abc", machine="A, \"quoted\" processor",
)  # fmt: skip


def make_line(digest: str, **changes: object) -> Line:
    return replace(LINE, digest=digest, **changes)  # type: ignore[arg-type]


def test_lines_read_back_equal(tmp_path: Path) -> None:
    diverged = make_line("1", state="diverged", validation=None, test=None, low=None)
    mnist = make_line(
        "2", experiment="mnist-irnn-100", losses=(2.303, 0.5), frames=(("shuffled", 0.5),)
    )
    assert add_lines(tmp_path, [LINE, diverged, mnist]) == 3
    assert set(read_lines([tmp_path])) == {LINE, diverged, mnist}
    assert sorted(p.name for p in tmp_path.glob("*.csv")) == ["addition.csv", "mnist.csv"]


def test_files_from_before_a_column_was_added_are_read(tmp_path: Path) -> None:
    beside = make_line("2", beside=(("unigram", 640.5), ("kneser-ney-5", 141.2)))
    add_lines(tmp_path, [LINE, beside])
    path = tmp_path / "addition.csv"
    assert set(read_lines([tmp_path])) == {LINE, beside}
    path.write_text("\n".join(line.rpartition(",")[0] for line in path.read_text().splitlines()))
    assert set(read_lines([tmp_path])) == {LINE, replace(beside, beside=())}


def test_a_run_has_one_line_wherever_it_was_made(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    elsewhere = make_line(LINE.digest, machine="another", test=0.9)
    assert add_lines(mine, [LINE]) == 1
    assert add_lines(mine, [elsewhere, make_line("2", seed=1)]) == 1
    add_lines(theirs, [elsewhere])
    assert len(read_lines([mine, theirs])) == 2
    assert LINE in read_lines([mine, theirs])


def test_the_order_of_a_file_does_not_depend_on_the_order_of_the_runs(tmp_path: Path) -> None:
    lines = [make_line(str(i), seed=i, experiment=f"addition-irnn-{150 + i}") for i in range(12)]
    for line in lines:
        add_lines(tmp_path / "one by one", [line])
    add_lines(tmp_path / "at once", lines[::-1])
    first, second = (
        (tmp_path / name / "addition.csv").read_text() for name in ("one by one", "at once")
    )
    assert first == second


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.979", "high", "(?s)addition.csv, line 2 is damaged.*high"),
        (",1.0,scored", "", "addition.csv, line 2 is damaged"),
        ("experiment,settings", "experiment", "expected the columns experiment,settings,.*found"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    add_lines(tmp_path, [LINE])
    path = tmp_path / "addition.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_lines([tmp_path])


def test_the_lines_that_come_with_the_program_can_be_read() -> None:
    lines = read_lines([SHIPPED])
    assert len({line.digest for line in lines}) == len(lines)
    perplexities = ("ptb-words", "sentences")
    for line in lines:
        if line.test is not None:
            low, high = (1, 1e4) if line.experiment.startswith(perplexities) else (0, 1)
            assert low <= line.test <= high
