"""A paper's page, and the same as text: made from the lines alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from eval.pages.rendering import render_page
from eval.pages.text import write_seconds
from papers.np_rnn.claims import LSTM_IS_FOUR_TIMES, measure_complexity
from papers.reproduction import clip_sections as on_clips
from papers.reproduction import error_sections as of_errors
from papers.reproduction import sections as make
from papers.reproduction.books import PAPERS, Paper
from papers.reproduction.judge import Found, Judged, find, judge
from papers.reproduction.lines import Line
from papers.reproduction.sections import Section, Table
from papers.verdicts import CONFIDENCE, LEAST_SEEDS, MARGIN, State, decide
from pipeline.files import write_text

RESULTS = "RESULTS.md"
RULE = (
    f"A sentence holds if the {CONFIDENCE:.0%} interval over seeds of every number that it is "
    f"about lies on its side, and fails if one lies on the other; with fewer than {LEAST_SEEDS} "
    f"seeds it is undecided. 'At par' is within {MARGIN:g}, seed by seed. A run that diverged "
    f"counts as 0, of an error as 1, of a perplexity as the size of the vocabulary."
)


def write_page(
    out: Path, name: str, lines: Sequence[Line], *, budget: float = 1.0, clips: str = ""
) -> Path:
    """Write `<name>.html` and RESULTS.md into `out`; the page's path. `clips` as in `find`."""
    paper, found = PAPERS[name], find(lines, budget=budget, clips=clips)
    verdicts = _judge_all(name, found)
    counts = Counter(judged.verdict.state for judged in verdicts)
    own = _lines_of(paper, lines, found)
    page = render_page(
        "paper.html",
        folder=Path(__file__).parent,
        title=f"The {name} paper, carried out",
        paper=paper,
        counts=[(state, counts[state]) for state in get_args(State)],
        num_lines=len(own),
        notes=_find_notes(found),
        rule=RULE,
        verdicts=verdicts,
        sections=make_sections(name, found, lines),
        how=describe_runs(own),
    )
    path = out / f"{name}.html"
    write_text(path, page)
    write_text(out / RESULTS, write_results(lines, budget=budget, clips=clips))
    return path


def _judge_all(name: str, found: Found) -> list[Judged]:
    """The paper's claims of its runs, and of its nets' sizes."""
    judged = judge(PAPERS[name], found)
    if name != "np-rnn":
        return judged
    counts = make.count_complexity()
    ratio = counts["lstm"][0] / counts["np-rnn"][0]
    verdict = decide(measure_complexity(ratio))
    return [*judged, Judged(LSTM_IS_FOUR_TIMES, "complexity", verdict, {})]


def _lines_of(paper: Paper, lines: Sequence[Line], found: Found) -> list[Line]:
    """The lines that the page is made from: the paper's trials under any reading, and searches."""
    own: dict[str, Line] = {}
    for experiment in paper.experiments.values():
        known = find(lines, budget=experiment.share(found.budget), clips=found.clips)
        trials = set(experiment.trials)
        trials |= {reading.apply(trial) for reading in paper.readings.values() for trial in trials}
        own |= {line.digest: line for trial in trials for line in known.of(trial)}
    return list(own.values())


def _find_notes(found: Found) -> list[str]:
    if found.budget == 1:
        return []
    return [
        f"A trial: every run had a share of {found.budget:g} of the paper's training. Nothing here "
        f"is about the paper's numbers."
    ]


def make_sections(name: str, found: Found, lines: Sequence[Line]) -> list[Section]:
    """The paper's figures and tables in its order, from what was found of the lines."""
    paper = PAPERS[name]
    sections = [make.make_portraits()] if name == "np-rnn" else []
    for key, experiment in paper.experiments.items():
        task = experiment.trials[0].protocol
        if key.startswith("mnist-"):
            tried = find(lines, budget=experiment.share(found.budget))
            sections.append(make.make_search(key, experiment, tried))
        elif experiment.is_ours and task in ("ucf101", "arrow-of-time"):
            sections.append(on_clips.make_order(key, experiment, found))
        elif key == "figure-5":
            sections.append(make.make_losses(key, experiment, found))
        elif key == "table-3":
            sections.append(on_clips.make_ucf101_table(key, experiment, found))
        elif key == "figure-6":
            sections.append(on_clips.make_grids(key, experiment, found))
        elif task in ("ptb-words", "sentences"):
            sections.append(of_errors.make_words_table(key, experiment, found))
        elif task == "speech-frames":
            sections.append(of_errors.make_frames_table(key, experiment, found, paper.printed))
        elif "mnist" in task:
            sections.append(
                make.make_mnist_table(
                    key, experiment, found, readings=paper.readings, printed=paper.printed
                )
            )
        else:
            sections.append(make.make_bars(key, experiment, found, paper.readings))
    return [*sections, make.make_complexity()] if name == "np-rnn" else sections


def describe_runs(lines: Sequence[Line]) -> Table:
    """Where and with what the lines were made."""
    headers = ("machine", "version", "runs", "seeds", "training, one core each")
    groups = Counter((line.machine, line.version) for line in lines)
    rows = []
    for (machine, version), num in sorted(groups.items()):
        own = [line for line in lines if (line.machine, line.version) == (machine, version)]
        seeds = ", ".join(map(str, sorted({line.seed for line in own})))
        total = write_seconds(math.fsum(line.seconds for line in own))
        rows.append((machine, version, str(num), seeds, total))
    return Table(headers, tuple(rows))


def write_results(lines: Sequence[Line], *, budget: float = 1.0, clips: str = "") -> str:
    """RESULTS.md: verdicts and tables of every paper."""
    found = find(lines, budget=budget, clips=clips)
    parts = [
        "# Results",
        "Made by `python -m papers np-rnn --page` from the lines in `papers/results/`; "
        "do not edit.",
        RULE,
        *_find_notes(found),
    ]
    for name, paper in PAPERS.items():
        parts.append(f"## {name}: {paper.title} ({paper.citation})")
        parts.append(
            "Readings of what it leaves open: "
            + "; ".join(f"*{r.name}*: {r.title}" for r in paper.readings.values())
            + "."
        )
        parts.append("\n".join(_write_verdict(paper, judged) for judged in _judge_all(name, found)))
        for section in make_sections(name, found, lines):
            if section.tables:
                parts.append(f"### {section.heading}")
                parts += [_write_table(table) for table in section.tables]
                parts += section.notes
        parts += ["### How it was run", _write_table(describe_runs(_lines_of(paper, lines, found)))]
    return "\n\n".join(parts) + "\n"


def _write_verdict(paper: Paper, judged: Judged) -> str:
    own = f"- **{judged.verdict.state}**: {judged.claim.sentence}. {judged.verdict.because}"
    other = judged.elsewhere
    alone = [f"  - These runs alone would say: **{other.state}**. {other.because}"] if other else []
    under = [
        f"  - **{verdict.state}** under {paper.readings[name].name}: {verdict.because}"
        for name, verdict in judged.under.items()
    ]
    return "\n".join([own, *alone, *under])


def _write_table(table: Table) -> str:
    lines = [table.headers, ("---",) * len(table.headers), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
