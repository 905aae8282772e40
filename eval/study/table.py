"""A study's table, in the form of the np-RNN paper's table 3."""

from __future__ import annotations

from collections.abc import Sequence

from eval.pages.text import align, write_count
from eval.scores.rows import mark_budget
from eval.scores.tables import write_interval, write_value
from eval.study.choice import DROPOUT, LEARNING_RATE, TIE_RULE, NetStudy, Setting
from eval.study.study import Study, TestedNet, TestedTask
from papers.np_rnn.protocols import TABLE_3

HEADERS = (
    "RNN type", "training method", "validation", "test", "95 % interval", "floor", "seeds",
    "spread", "test sequences", "parameters", "multiply-adds a step", "paper, validation",
    "paper, test",
)  # fmt: skip
_TEXT = {"RNN type", "training method", "95 % interval"}
_OPTIMIZERS = {"rmsprop": "RMSprop", "sgd": "SGD", "adam": "Adam"}


def is_number(header: str) -> bool:
    """Whether the cells under this header stand to the right."""
    return header not in _TEXT


def make_cells(tested: TestedNet, task: TestedTask) -> tuple[str, ...]:
    """The cells of a net under HEADERS; those of one without a score are mostly blank."""
    net, row = tested.net, tested.row
    paper = TABLE_3.get(net.model) if task.is_papers else None
    papers = ("", "") if paper is None else (f"{paper.validation:.3f}", f"{paper.test:.3f}")
    first = net.settings[0].results[0]
    if net.chosen is None or net.chosen.score is None or row is None or not row.scores:
        return (name_net(net), "none has a score", *[""] * (len(HEADERS) - 4), *papers)
    score = row.scores[0]
    return (
        name_net(net),
        describe_setting(net.chosen, net),
        write_value(net.chosen.score, net.chosen.score.estimate.value),
        write_value(score, score.estimate.value),
        write_interval(score),
        write_value(score, score.floor),
        str(len(row.seeds)),
        "" if score.spread is None else write_value(score, score.spread),
        write_count(len(row.seeds[0].ids)),
        write_count(first.num_parameters),
        write_count(first.multiply_adds),
        *papers,
    )


def name_net(net: NetStudy) -> str:
    """The net's name, with its budget where that is below 1."""
    first = (net.chosen or net.settings[0]).results[0]
    return ", ".join(filter(None, (net.model, mark_budget(first))))


def describe_setting(setting: Setting, net: NetStudy) -> str:
    """`RMSprop, learning rate 0.001, dropout 0.5`, and what else the net's settings differ in."""
    known = setting.results[0].settings
    optimizer = str(known.get("optimizer.name", ""))
    rest = [key for key in net.varied if key not in (LEARNING_RATE, DROPOUT, "optimizer.name")]
    numbers = {
        "learning rate": setting.value(LEARNING_RATE),
        "dropout": setting.value(DROPOUT),
    }
    told = [_OPTIMIZERS.get(optimizer, optimizer)]
    told += [f"{name} {number:g}" for name, number in numbers.items() if number is not None]
    told += [f"{key}={known.get(key)}" for key in rest]
    return ", ".join(filter(None, told))


def find_columns(task: TestedTask) -> tuple[int, ...]:
    """The places of the columns in which some net has something to say."""
    cells = [make_cells(tested, task) for tested in task.nets]
    return tuple(p for p in range(len(HEADERS)) if p < 5 or any(line[p] for line in cells))


def score_name(task: TestedTask) -> str:
    """The name of the score that the nets are chosen by."""
    scores = [net.net.chosen.score for net in task.nets if net.net.chosen is not None]
    return next((score.name for score in scores if score is not None), "score")


def describe_grid(task: TestedTask) -> str:
    """How many runs there are, and how the settings were chosen; two sentences."""
    num_settings = sum(len(net.net.settings) for net in task.nets)
    return (
        f"{len(task.study.results)} runs, {num_settings} settings of {len(task.nets)} nets; score: "
        f"{score_name(task)}. Each net's setting is the one with the best mean over seeds on "
        f"validation, and the only one tested; the best of many on validation flatters, the test "
        f"does not. {TIE_RULE}"
    )


def format_study(study: Study) -> str:
    """The tables of all tasks, what to know beside them, and the runs without a score."""
    blocks = [_format_task(task) for task in study.tasks]
    lost = study.without_score
    if lost:
        blocks.append(
            "\n".join([f"{len(lost)} runs without a score:", *(f"  {p}: {why}" for p, why in lost)])
        )
    return "\n\n".join(blocks)


def _format_task(task: TestedTask) -> str:
    columns = find_columns(task)
    lines: list[Sequence[str]] = [HEADERS, *(make_cells(net, task) for net in task.nets)]
    table = [[line[place] for place in columns] for line in lines]
    text = align(table, [is_number(HEADERS[place]) for place in columns])
    notes = [f"- {note}" for note in task.notes]
    return "\n".join([task.study.name, "", *text, "", describe_grid(task), *notes])
