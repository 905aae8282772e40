"""A grid of runs to one table: each net's best setting by validation, and only that one tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.predictions.predict import PartReader
from eval.report.evaluate import answer_run
from eval.scores.notes import find_notes
from eval.scores.rows import Result, Row, make_rows
from eval.study.choice import TIE_RULE, NetStudy, TaskStudy, make_task_studies
from papers.np_rnn.protocols import TABLE_3, TABLE_3_IS
from pipeline.devices import resolve_device
from pipeline.runs import Run, find_runs, load_run

OUT = "study"


@dataclass(frozen=True)
class TestedNet:
    """A net of a study, and the row of its chosen setting on the test part; None without any."""

    net: NetStudy
    row: Row | None


@dataclass(frozen=True)
class TestedTask:
    """A task of a study with its nets; `notes` is what a reader of its table must know."""

    study: TaskStudy
    nets: tuple[TestedNet, ...]
    notes: tuple[str, ...]

    @property
    def is_papers(self) -> bool:
        """Whether the paper has a table of the task: UCF-101."""
        return is_ucf101(self.study)


@dataclass(frozen=True)
class Study:
    """All that a study found; `unread` are run folders that are damaged, and why."""

    folder: Path
    tasks: tuple[TestedTask, ...]
    unread: tuple[tuple[Path, str], ...]

    @property
    def without_score(self) -> tuple[tuple[Path, str], ...]:
        """The runs that no mean includes: incomplete, diverged or damaged; and why."""
        results = [r for task in self.tasks for r in task.study.results if r.state]
        return (*((r.folder, f"{_say_run(r)}: {r.state}") for r in results), *self.unread)

    @property
    def is_complete(self) -> bool:
        """Whether every run has a score."""
        return not self.without_score


def study_runs(
    folder: Path | str,
    *,
    features: str | None = None,
    device: str = "auto",
    batch_size: int = 256,
    say: Callable[[str], None] = lambda line: None,
) -> Study:
    """Score all runs below `folder` on validation, and each net's best setting on test.

    The test part is read for the chosen settings alone. A run's predictions go to
    `<run>/eval/<part>/`. Runs that are incomplete, diverged or damaged are listed, never scored.
    """
    runs, unread = _read_runs(Path(folder))
    resolved = resolve_device(device)

    def answer(part: str, chosen: Sequence[Run]) -> list[Result]:
        reader = PartReader(part, features)
        results = []
        for place, run in enumerate(chosen, start=1):
            say(f"{part} part, run {place} of {len(chosen)}: {run.folder}")
            results.append(answer_run(run, reader, batch_size=batch_size, device=resolved))
        return results

    studies = make_task_studies(answer("val", runs))
    run_of = {run.folder: run for run in runs}
    wanted = [
        run_of[result.folder]
        for study in studies
        for net in study.nets
        if net.chosen is not None
        for result in net.chosen.validated
    ]
    tested = {result.folder: result for result in answer("test", wanted)}
    tasks = tuple(_join_task(study, tested) for study in studies)
    return Study(Path(folder), tasks, unread)


def _read_runs(folder: Path) -> tuple[list[Run], tuple[tuple[Path, str], ...]]:
    """The runs below the folder by their paths, and those that cannot be read, with the reason."""
    runs, unread = [], []
    for path in sorted(find_runs(folder)):
        try:
            runs.append(load_run(path))
        except ValueError as error:
            unread.append((path, str(error).splitlines()[0]))
    if not runs:
        raise ValueError(
            f"{folder}: expected runs in it or below, found "
            + (f"{len(unread)} damaged, such as {unread[0][0]}" if unread else "none")
            + ".\nMake some: python -m train -m model=np-rnn,irnn optimizer.lr=1e-4,1e-3 seed=0,1,2"
        )
    return runs, tuple(unread)


def _join_task(study: TaskStudy, tested: dict[Path, Result]) -> TestedTask:
    nets = []
    for net in study.nets:
        chosen = net.chosen.validated if net.chosen is not None else ()
        rows = make_rows([tested[result.folder] for result in chosen])
        nets.append(TestedNet(net, max(rows, key=lambda row: len(row.seeds), default=None)))
    rows = tuple(net.row for net in nets if net.row is not None)
    notes = (*_notes_on_seeds(study), *_notes_on_paper(study), *find_notes(rows, "test"))
    return TestedTask(study, tuple(nets), notes)


def _notes_on_seeds(study: TaskStudy) -> list[str]:
    """Settings whose mean is over fewer seeds than that of others of the same net."""
    notes = []
    for net in study.nets:
        fewer = [s for s in net.settings if len(s.validated) < net.num_seeds]
        if fewer:
            notes.append(
                f"{net.model}: {len(fewer)} of {len(net.settings)} settings have a validation "
                f"score for fewer seeds than others ({net.num_seeds} at most); a mean over fewer "
                f"can be luck, and one without its diverged runs flatters."
            )
        if net.chosen in fewer and net.chosen is not None:
            num = len(net.chosen.validated)
            notes.append(
                f"{net.model}: THE CHOSEN SETTING IS ONE OF THEM, with {num} of {net.num_seeds} "
                f"seeds."
            )
    return notes


def _notes_on_paper(study: TaskStudy) -> list[str]:
    if not is_ucf101(study) or not any(net.model in TABLE_3 for net in study.nets):
        return []
    config = study.results[0].config
    assert config is not None
    ours = f"{config.task.learned()['split']}, {len(config.labels)} classes"
    return [f"The paper's numbers are for {TABLE_3_IS}; this study: {ours}."]


def is_ucf101(study: TaskStudy) -> bool:
    """Whether the task is clips of one of UCF-101's splits, which the paper's table 3 is about."""
    settings = study.results[0].settings
    is_of_clips = settings.get("task.name") == "clips"
    return is_of_clips and str(settings.get("split", "")).startswith("ucf101")


def _say_run(result: Result) -> str:
    return f"{result.model}, seed {result.seed}"


__all__ = ["OUT", "TIE_RULE", "Study", "TestedNet", "TestedTask", "is_ucf101", "study_runs"]
