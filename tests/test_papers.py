"""`python -m papers`: cells, rounds of seeds, verdicts on a page; small budgets of real runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from eval.predictions.predict import PartReader
from eval.report.evaluate import answer_run
from eval.scores.rows import Result
from papers.__main__ import main
from papers.book import Experiment, Trial
from papers.np_rnn.trials import EXPERIMENTS, READINGS, grid_trials
from papers.reproduction import books, work
from papers.reproduction.books import PAPERS
from papers.reproduction.carry_out import find_missing, order, run_side_by_side
from papers.reproduction.cells import DEFAULT, Cell, Data, Plan
from papers.reproduction.estimate import Clock, weigh
from papers.reproduction.judge import FoundScores, find, judge
from papers.reproduction.lines import SHIPPED, Line, read_lines
from papers.reproduction.page import make_sections, write_page, write_results
from papers.reproduction.work import Refused
from pipeline.recurrent.spec import NETS
from pipeline.runs import Run
from tests.tiny_runs import LABELS, write_split, write_store
from tests.tiny_texts import write_texts

ROOT = Path(__file__).resolve().parent.parent
FIGURE_3 = {"figure-3": replace(EXPERIMENTS["figure-3"], trials=EXPERIMENTS["figure-3"].trials[:3])}


def make_plan(num_seeds: int = 2, readings: tuple[str, ...] = ()) -> Plan:
    return Plan(FIGURE_3, {name: READINGS[name] for name in readings}, Data(), num_seeds, 1.0)


def make_line(trial: Trial, *, seed: int = 0, test: float | None = 0.5, **changes: object) -> Line:
    line = Line(
        experiment=trial.name, settings=" ".join(trial.settings), data="", seed=seed, budget=1.0,
        state="scored" if test is not None else "diverged", validation=test, test=test, low=test,
        high=test, floor=0.08,
        epochs=10, seconds=60.0, digest=f"{trial.name}{trial.settings}{seed}", version="0.1.0",
        machine="a machine",
    )  # fmt: skip
    return replace(line, **changes)  # type: ignore[arg-type]


def test_a_reading_adds_only_the_cells_that_it_changes() -> None:
    default = make_plan().cells()
    both = make_plan(readings=("hidden", "shifted")).cells()
    assert len(default) == 3 * 2
    assert len(both) == (3 + 3 + 1) * 2
    assert len({cell.config.digest() for cell in both}) == len(both)
    assert {cell.reading for cell in both} == {DEFAULT, "hidden", "shifted"}
    hidden = next(cell for cell in both if cell.reading == "hidden")
    assert hidden.config.net.input_scale == "hidden"


def test_cells_go_seed_after_seed_the_default_reading_first_the_shortest_first() -> None:
    cells = make_plan(readings=("hidden",)).cells()
    clock = Clock(cells, [])
    keys = [(c.config.seed, c.reading != DEFAULT, clock.seconds(c)) for c in order(cells, clock)]
    assert keys == sorted(keys)
    assert keys[0][:2] == (0, False)
    assert keys[-1][:2] == (1, True)


def test_a_cell_with_a_line_is_not_run_again_whoever_made_it() -> None:
    cells = make_plan().cells()
    done = make_line(cells[0].trial, digest=cells[0].config.digest(), machine="another")
    assert find_missing(cells, [done]) == cells[1:]


def test_longer_sequences_more_epochs_and_gates_weigh_more() -> None:
    trials = tuple(
        Trial("addition", net, T) for net, T in (("irnn", 150), ("irnn", 500), ("lstm", 150))
    )
    cells = Plan({"figure-3": Experiment("", trials)}, {}, Data(), 1, 1.0).cells()
    short, long, gated = (weigh(cell.config) for cell in cells)
    assert 2 * short < long
    assert 3 * short < gated


def test_estimates_are_in_the_measure_of_finished_runs() -> None:
    cells = make_plan(num_seeds=1).cells()
    first = cells[0]
    weight = weigh(first.config)
    slow = make_line(first.trial, digest=first.config.digest(), seconds=7 * weight)
    ratio = (600 + 7 * weight) / (600 + weight)
    assert Clock(cells, [slow]).seconds(cells[1]) == pytest.approx(ratio * weigh(cells[1].config))
    unlike = make_line(first.trial, digest="of another paper", seconds=1e6)
    assert Clock(cells, [unlike]).seconds(first) == pytest.approx(weight)


def test_what_is_not_at_hand_is_said_once_by_name_and_the_rest_is_planned(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    plan = Plan(EXPERIMENTS, {}, Data(), 1, 1.0)
    assert [message.split(":")[0] for message in plan.missing()] == [
        "no MNIST", "no features of UCF-101's clips",
    ]  # fmt: skip
    missing = {trial for trials in plan.missing().values() for trial in trials}
    planned = {trial.protocol for _, trial, _ in plan.trials() if trial not in missing}
    assert planned == {"addition", "multiplication"}
    data = Data(store, str(tmp_path / "tiny.yaml"))
    assert data.missing(grid_trials("lstm")[0]) == ""
    assert data.clips.startswith("6 classes, 72 clips, ")
    assert "trainer.batch_size=16" in data.arguments(grid_trials("lstm")[0])


def test_a_split_without_test_clips_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    split = write_split(tmp_path)
    grid = {"table-3": replace(EXPERIMENTS["table-3"], trials=grid_trials("lstm")[:1])}
    assert len(Plan(grid, {}, Data(store, str(split)), 1, 1.0).cells()) == 1
    text = split.read_text()
    split.write_text(text.replace("test: [g04, g05, g06]", "test: [g07]"))
    (tmp_path / "listed.csv").write_text(
        "label,name,g01,g02,g03,g07\n"
        + "\n".join(f"{label},{label},2,2,2,2" for label in LABELS)
        + "\n"
    )
    with pytest.raises(ValueError, match="expected clips in its test part, found none"):
        Plan(grid, {}, Data(store, str(split)), 1, 1.0).cells()


def test_scores_of_other_budgets_or_clips_are_never_mixed() -> None:
    grid, addition = grid_trials("irnn")[0], Trial("addition", "irnn", 150)
    lines = [
        make_line(addition), make_line(addition, budget=0.1, seed=1),
        make_line(grid, data="11 classes, few"), make_line(grid, data="11 classes, few", seed=1),
        make_line(grid, data="101 classes, all"),
    ]  # fmt: skip
    found = find(lines, budget=1.0)
    assert [line.seed for line in found.of(addition)] == [0]
    assert found.clips == "11 classes, few"
    assert found.num_classes == 11
    other = find(lines, budget=1.0, clips="101 classes, all")
    assert [line.data for line in other.of(grid)] == ["101 classes, all"]


def test_a_run_that_diverged_counts_as_nothing_right() -> None:
    trial = Trial("addition", "g-rnn", 150)
    lines = [make_line(trial, seed=s, test=None) for s in range(5)]
    claims = {j.claim.text: j for j in judge(PAPERS["np-rnn"], find(lines, budget=1.0))}
    failed = claims["the oRNN and the gRNN failed to train at every length"]
    quantity = next(q for q in failed.verdict.quantities if q.name == "g-rnn, T = 150")
    assert quantity.of_seeds == (0.0,) * 5
    page = write_results(lines)
    assert "0.000 (0.000 to 0.000, 5 seeds, 5 diverged)" in page


def test_verdicts_on_ucf101_need_all_of_its_classes_and_others_no_part_of_the_training() -> None:
    lines = [
        make_line(t, seed=s, data="11 classes, few") for t in grid_trials("irnn") for s in range(5)
    ]
    for budget, reason in ((1.0, "all 101 classes of UCF-101; the clips at hand are 11"),
                           (0.1, "a share of 0.1 of the paper's training")):  # fmt: skip
        made = [replace(line, budget=budget) for line in lines]
        judged = judge(PAPERS["np-rnn"], find(made, budget=budget))
        on_clips = [j.verdict for j in judged if j.task == "ucf101"]
        assert {v.state for v in on_clips} == {"cannot be tested here"}
        assert all(reason in v.because for v in on_clips)


class Checker(HTMLParser):
    """Counts elements, and holds that those which are opened are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", list(PAPERS))
def test_the_page_has_every_claim_and_figure_with_and_without_runs(
    name: str, tmp_path: Path
) -> None:
    paper = PAPERS[name]
    trials = [(t, e.budget) for e in paper.experiments.values() for t in e.trials]
    data_of = dict.fromkeys(("ucf101", "arrow-of-time"), "11 classes, few")
    data_of |= dict.fromkeys(("mnist-np-rnn", "mnist-irnn"), "MNIST")
    lines = [
        make_line(t, seed=s, data=data, budget=budget, losses=(2.0, 1.0))
        for t, budget in dict.fromkeys(trials)
        for s in range(2)
        for data in [data_of.get(t.protocol, "")]
    ]
    for known in ([], lines):
        page = write_page(tmp_path, name, known).read_text()
        checker = Checker()
        checker.feed(page)
        assert checker.open == []
        for claims in paper.claims.values():
            for claim in claims:
                assert claim.text.replace("<", "&lt;").replace("'", "&#39;") in page
        sections = make_sections(name, find(known, budget=1.0), known)
        assert checker.counts["svg"] == sum(len(s.pictures) for s in sections)
        assert page.count("http") == page.count('xmlns="http') + page.count('xlink="http')
        assert all(f'id="{section.name}"' in page for section in sections)
    assert "not run yet" not in page


def test_results_md_is_made_from_the_lines_that_come_with_the_program() -> None:
    assert (ROOT / "RESULTS.md").read_text() == write_results(read_lines([SHIPPED]))


# A paper of two trials that take a second.
_SETTINGS = tuple(f"task.{o}" for o in ("length=5", "num_train=64", "num_val=16", "num_test=16"))
_TINY = replace(
    PAPERS["np-rnn"],
    experiments={
        "figure-3": Experiment("tiny", (Trial("addition", "np-rnn", 150, _SETTINGS),
                                        Trial("addition", "irnn", 150, _SETTINGS)))
    },
)  # fmt: skip
QUICK = ("np-rnn", "--readings", "default", "--seeds", "2")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(books.PAPERS, "np-rnn", _TINY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["np-rn"], "PAPER: expected one of np-rnn, irnn, found 'np-rn'. Did you mean np-rnn?"),
        (["np-rnn", "--only", "figure-9"], "--only: expected one of figure-3"),
        (["np-rnn", "--readings", "bits"], "--readings: expected one of all, default, hidden"),
        (["np-rnn", "--seeds", "0"], "--seeds: expected 1 or more, found 0."),
        (["np-rnn", "--budget", "2"], "budget: expected a share in (0, 1], found 2"),
        (["np-rnn", "--jobs", "0"], "--jobs: expected 1 or more, found 0."),
        (["np-rnn", "--features", "nowhere"], "nowhere"),
        (["np-rnn", "--mnist", "nowhere"], "nowhere"),
        (["np-rnn", "--join", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_option_is_refused_with_what_was_expected(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("tiny")
def test_a_figure_is_carried_out_once_and_its_page_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*QUICK, "--out", str(tmp_path), "--jobs", "1", "--budget", "0.5"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("(floor ") == 4
    lines = read_lines([tmp_path / "results"])
    assert len(lines) == 4
    assert {line.budget for line in lines} == {0.5}
    runs = {path.parent.name for path in (tmp_path / "runs").glob("*/config.yaml")}
    assert {line.digest for line in lines} == {name.rpartition("-")[2] for name in runs}
    assert "A trial: every run had a share of 0.5" in (tmp_path / "np-rnn.html").read_text()
    assert main(arguments) == 0
    assert "Nothing is missing." in capsys.readouterr().out
    other = tmp_path / "other"
    joined = [*QUICK, "--budget", "0.5", "--page", "--out", str(other)]
    assert main([*joined, "--join", str(tmp_path / "runs")]) == 0
    assert "4 new of 4 results" in capsys.readouterr().out
    assert read_lines([other / "results"]) == lines


_PROGRAM = """
import sys
from papers.__main__ import main
from papers.reproduction import books
from tests.test_papers import _TINY

books.PAPERS["np-rnn"] = _TINY
sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_command_goes_on_and_trains_nothing_twice(tmp_path: Path) -> None:
    arguments = [*QUICK, "--seeds", "6", "--out", str(tmp_path), "--jobs", "1"]
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    results = tmp_path / "results" / "addition.csv"
    while not results.is_file() or len(read_lines([results])) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = read_lines([results])
    assert 2 <= len(kept) < 12
    weights = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/weights.safetensors")}
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert len(read_lines([results])) == 12
    assert set(kept) <= set(read_lines([results]))
    assert {p: p.stat().st_mtime_ns for p in weights} == weights


def die_at_first(cell: Cell, runs: Path) -> tuple[str, Line | Refused]:
    """Work that a kill ends: seed 1's always, seed 2's once."""
    tries = runs / f"{cell.config.seed}.tries"
    num = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("x" * (num + 1))
    if cell.config.seed == 1 or (cell.config.seed == 2 and num == 0):
        os.kill(os.getpid(), signal.SIGKILL)
    return cell.name, make_line(cell.trial, seed=cell.config.seed)


def test_a_cell_whose_process_is_killed_is_tried_twice_more_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    one = {"figure-3": replace(FIGURE_3["figure-3"], trials=FIGURE_3["figure-3"].trials[:1])}
    cells = Plan(one, {}, Data(), 5, 1.0).cells()
    found = dict(run_side_by_side(cells, runs=tmp_path, num_jobs=2, work=die_at_first))
    assert found.keys() == {cell.name for cell in cells}
    refused = [outcome for outcome in found.values() if isinstance(outcome, Refused)]
    assert [outcome.name for outcome in refused] == [cells[1].name]
    assert "was killed 3 times" in refused[0].reason
    tries = [len((tmp_path / f"{seed}.tries").read_text()) for seed in range(5)]
    assert tries[1] in (2, 3)  # once less where seed 2 took its process along before it began
    assert tries[2] == 2


@pytest.mark.usefixtures("tiny")
def test_the_list_says_what_there_is_and_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*QUICK, "--list", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    row = next(line.split() for line in said.splitlines() if line.startswith("figure-3"))
    assert row[:5] == ["figure-3", "default", "2", "4", "0"]
    assert "left on" in said
    assert not list(tmp_path.iterdir())


def test_mnists_table_has_the_papers_columns_and_each_papers_own_numbers() -> None:
    trials = EXPERIMENTS["table-2"].trials
    lines = [make_line(trial, test=0.6, data="MNIST") for trial in trials[:2]]
    lines.append(make_line(READINGS["bytes"].apply(trials[1]), test=0.7, data="MNIST"))
    sections = make_sections("np-rnn", find(lines, budget=1.0), lines)
    table = next(s for s in sections if s.name == "table-2").tables[0]
    rows = {row[:2]: row[2:] for row in table.rows}
    assert table.headers[2:] == (
        "paper, 100 epochs", "ours, 100 epochs", "paper, 500 epochs", "ours, 500 epochs"
    )  # fmt: skip
    assert rows["irnn", "rmsprop, lr 1e-06"] == ("0.830", "0.600 (1 seed)", "0.930", "not run yet")
    assert rows["np-rnn", "sgd, lr 0.0001"][:2] == ("0.920", "0.600 (1 seed)")
    assert rows["np-rnn, pixels to 255", "sgd, lr 0.0001"][:2] == ("", "0.700 (1 seed)")
    assert rows["irnn", "sgd, lr 1e-8"] == ("", "not run yet", "", "")
    sections = make_sections("irnn", find(lines, budget=1.0), lines)
    table = next(s for s in sections if s.name == "mnist").tables[0]
    told = {row[0]: row[2:] for row in table.rows}
    assert told["irnn"] == ("0.970", "0.600 (1 seed)")
    assert told["lstm"][0] == "0.660"


def test_a_search_takes_its_share_of_the_training_and_no_readings() -> None:
    search = {"mnist-search": EXPERIMENTS["mnist-search"]}
    plan = Plan(search, dict(READINGS), Data(), 1, 0.05)
    trials = list(plan.trials())
    assert len(trials) == 2 * 2 * 2 * 3
    assert {(reading, budget) for reading, _, budget in trials} == {(DEFAULT, 0.005)}
    default, best = search["mnist-search"].trials[0], search["mnist-search"].trials[5]
    lines = [
        make_line(default, test=0.2, budget=0.1, data="MNIST"),
        make_line(best, test=0.7, budget=0.1, data="MNIST"),
        make_line(default, test=0.9, data="MNIST"),
    ]
    sections = make_sections("np-rnn", find(lines, budget=1.0), lines)
    table = next(s for s in sections if s.name == "mnist-search").tables[0]
    assert [row[0] for row in table.rows] == [" ".join(best.settings), "as in the protocol"]
    assert [row[1] for row in table.rows] == ["0.700", "0.200"]


def test_every_net_is_asked_whether_it_uses_the_order_of_frames() -> None:
    for name in ("order-of-frames", "arrow-of-time"):
        assert {trial.net for trial in EXPERIMENTS[name].trials} == set(NETS)
    trial = EXPERIMENTS["order-of-frames"].trials[0]
    frames = (("shuffled", 0.6), ("reversed", 0.5), ("first-half", 0.4))
    lines = [
        make_line(
            trial, seed=seed, test=0.7, low=low, high=0.8, data="11 classes, few", frames=frames
        )
        for seed, low in enumerate((0.6, 0.55))
    ]
    sections = make_sections("np-rnn", find(lines, budget=1.0), lines)
    row = next(s for s in sections if s.name == "order-of-frames").tables[0].rows[0]
    assert row[:2] == ("np-rnn", "0.700 (0.700 to 0.700, 2 seeds)")
    assert row[2:] == ("0.550 to 0.800", "0.600", "0.500", "0.400", "")


def errors_of(net: str, *, test: float | None, **changes: Any) -> Line:
    trial = next(
        t for t in PAPERS["irnn"].experiments["words"].trials if t.net == net
    )  # fmt: skip
    return make_line(trial, test=test, data="929,589 words of training, ptb", **changes)


def test_perplexities_stand_beside_counting_and_what_the_paper_is_said_to_have_reached() -> None:
    beside = (("unigram", 640.0), ("kneser-ney-5", 141.2))
    lines = [
        errors_of("irnn", test=150.0, floor=640.0, beside=beside),
        errors_of("irnn", test=160.0, seed=1, floor=640.0, beside=beside),
        errors_of("irnn", test=None, seed=2),
        errors_of("lstm", test=None),
    ]
    found = find(lines, budget=1.0)
    section = next(s for s in make_sections("irnn", found, lines) if s.name == "words")
    ours, theirs = section.tables
    rows = {row[0]: row[2] for row in ours.rows}
    assert rows["irnn"] == "155.0 (150.0 to 160.0, 2 seeds, 1 diverged)"
    assert rows["lstm"] == "1 diverged"
    assert rows["gru"] == "not run yet"
    assert rows["counting five words in a row (Kneser-Ney)"] == "141.2"
    assert ("lstm-512", "68.8") in theirs.rows
    assert "929,589 words of training, ptb" in section.notes[-1]


def test_errors_of_speech_stand_in_the_papers_form_beside_linear_classifiers() -> None:
    trials = PAPERS["irnn"].experiments["frames"].trials
    deep = next(t for t in trials if t.net == "lstm" and "model.bidirectional=true" in t.settings)
    line = make_line(
        deep, test=0.25, data="8 speakers of training", floor=0.9, beside=(("linear-11", 0.4),)
    )
    section = next(
        s for s in make_sections("irnn", find([line], budget=1.0), [line]) if s.name == "frames"
    )
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    told = rows["lstm, 5 layers of 50, both directions"]
    assert told[:2] == ("0.250 (1 seed)", "0.250 (1 seed)")
    assert told[3:] == ("0.285", "0.291")
    assert rows["linear, 11 frames"][1] == "0.400"
    assert rows["always the commonest phone"][1] == "0.900"


def test_a_run_that_diverged_counts_as_the_worst_where_less_is_better() -> None:
    lines = [errors_of("irnn", test=None), errors_of("lstm", test=150.0)]
    scores = FoundScores(find(lines, budget=1.0))
    assert scores.test(PAPERS["irnn"].experiments["words"].trials[0]) == {0: 10_000.0}
    assert scores.test(PAPERS["irnn"].experiments["words"].trials[1]) == {0: 150.0}


def test_verdicts_on_words_and_speech_need_the_corpora_of_the_paper() -> None:
    few = [errors_of("irnn", test=150.0)]
    verdicts = {judged.task: judged for judged in judge(PAPERS["irnn"], find(few, budget=1.0))}
    for task, told in (("words", "no text was at hand"), ("frames", "no speech was at hand")):
        assert verdicts[task].verdict.state == "cannot be tested here"
        assert told in verdicts[task].verdict.because
    trial = PAPERS["irnn"].experiments["sentences"].trials[0]
    many = [make_line(trial, test=70.0, data="768,646,526 words of training, 1bw")]
    verdicts = {judged.task: judged for judged in judge(PAPERS["irnn"], find(many, budget=1.0))}
    assert verdicts["words"].verdict.state == "undecided"


def test_texts_and_speech_are_asked_for_by_name_and_read_where_they_are_given(
    tmp_path: Path,
) -> None:
    experiments = PAPERS["irnn"].experiments
    chosen = {name: experiments[name] for name in ("words", "sentences", "frames")}
    missing = Plan(chosen, {}, Data(), 1, 1.0).missing()
    assert [message.split(":")[0] for message in missing] == [
        "no Penn Treebank", "no sentences of the 1 Billion Word benchmark",
        "no features of speech",
    ]  # fmt: skip
    text = "a b c\nb c a\n" * 40
    for part in ("train", "valid", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text(text)
    few = replace(chosen["words"], trials=chosen["words"].trials[:1])
    (cell,) = Plan({"words": few}, {}, Data(words=tmp_path), 1, 1.0).cells()
    assert cell.data == f"320 words of training, {tmp_path.name}"
    assert cell.num_steps == 320
    assert cell.config.net.hidden_size == 200
    assert str(tmp_path) in " ".join(cell.arguments)


def test_a_line_of_words_has_counting_beside_it_and_each_part_is_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("model.hidden_size=4", "model.embedding_size=4", "model.softmax=full", "task.steps=5")
    trial = Trial("ptb-words", "irnn", settings=("model=irnn", *small, "trainer.batch_size=2"))
    experiment = replace(PAPERS["irnn"].experiments["words"], trials=(trial,))
    data = Data(words=write_texts(tmp_path / "texts"))
    (cell,) = Plan({"words": experiment}, {}, data, 1, 0.5).cells()
    answered = []

    def answer(run: Run, reader: PartReader, **options: Any) -> Result:
        answered.append(reader.part)
        return answer_run(run, reader, **options)

    monkeypatch.setattr(work, "answer_run", answer)
    line = work.carry_out(cell, runs=tmp_path / "runs")
    assert isinstance(line, Line)
    assert dict(line.beside).keys() == {"unigram", "kneser-ney-5"}
    assert dict(line.beside)["unigram"] == pytest.approx(line.floor)
    assert sorted(answered) == ["test", "val"]


def test_a_page_needs_no_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plan, "cells", None)
    assert main(["np-rnn", "--page", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "np-rnn.html").is_file()


def test_cells_name_themselves_for_people() -> None:
    cell: Cell = make_plan(num_seeds=1).cells()[0]
    assert cell.name == "addition-np-rnn-150 seed 0"
