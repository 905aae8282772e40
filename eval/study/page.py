"""A study as a page, and the same for machines."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from eval.pages import text
from eval.pages.rendering import render_page
from eval.report.about import describe_subject
from eval.report.frames import PASS_VIDEOS
from eval.report.overlay import draw_learning
from eval.report.pictures import draw_intervals
from eval.report.report import Section, describe_row, describe_score, make_sections
from eval.scores import tables
from eval.scores.rows import sort_rows
from eval.study import table as study_table
from eval.study.choice import TIE_RULE, NetStudy, Setting
from eval.study.heat_maps import draw_grids
from eval.study.study import Study, TestedNet, TestedTask
from papers.np_rnn.protocols import TABLE_3, TABLE_3_IS
from pipeline.files import write_text

PAGE = "study.html"
MACHINE = "study.json"


def write_study(out: Path, study: Study) -> Path:
    """Write study.html and study.json into `out`; the page's path."""
    rows = [net.row for task in study.tasks for net in task.nets if net.row is not None]
    sections = make_sections(rows)
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "format": "study 1",
        "tie_rule": TIE_RULE,
        "tasks": [_describe_task(task, sections) for task in study.tasks],
        "without_score": [{"run": str(p), "why": why} for p, why in study.without_score],
    }
    write_text(out / MACHINE, json.dumps(content, indent=1) + "\n")
    write_text(out / PAGE, _render(study, sections))
    return out / PAGE


def _render(study: Study, sections: list[Section]) -> str:
    rows = [section.row for section in sections]
    tasks = [_show_task(task, f"task-{place}") for place, task in enumerate(study.tasks)]
    return render_page(
        "study/study.html",
        title=f"Study of {study.folder.name or study.folder.resolve().name}",
        study=study,
        about=describe_subject(rows, "test"),
        tasks=tasks,
        sections=sections,
        strips={},
        why_no_strips=PASS_VIDEOS,
        tables=tables,
        text=text,
        study_table=study_table,
        noun=tables.find_noun(rows) if rows else "sequences",
        paper_is=TABLE_3_IS,
    )


@dataclass(frozen=True)
class ShownTask:
    """A task with its nets in the order of the page, the best on test first, and its pictures."""

    task: TestedTask
    nets: tuple[TestedNet, ...]
    charts: tuple[Markup, ...]
    maps: tuple[Markup, ...]
    most: float
    """The score of the darkest shade."""


def _show_task(task: TestedTask, name: str) -> ShownTask:
    rows = sort_rows([net.row for net in task.nets if net.row is not None])
    place_of = {id(row): place for place, row in enumerate(rows)}
    nets = sorted(task.nets, key=lambda net: place_of.get(id(net.row), len(rows)))
    scored = [(row.name, row.scores[0]) for row in rows if row.scores]
    charts = (
        draw_intervals(scored, f"{name}-intervals") if len(scored) > 1 else "",
        draw_learning(rows, f"{name}-learning") if len(rows) > 1 else "",
    )
    drawn = draw_grids(replace(task.study, nets=tuple(net.net for net in nets)), f"{name}-grid")
    return ShownTask(
        task,
        tuple(nets),
        tuple(Markup(chart) for chart in charts if chart),
        tuple(Markup(svg) for svg in drawn.pictures),
        drawn.most,
    )


def _describe_task(task: TestedTask, sections: list[Section]) -> dict[str, Any]:
    return {
        "name": task.study.name,
        "score": study_table.score_name(task),
        "notes": list(task.notes),
        "nets": [_describe_net(tested, task, sections) for tested in task.nets],
    }


def _describe_net(tested: TestedNet, task: TestedTask, sections: list[Section]) -> dict[str, Any]:
    net, paper = tested.net, TABLE_3.get(tested.net.model) if task.is_papers else None
    rows = [describe_row(section) for section in sections if section.row is tested.row]
    return {
        "model": net.model,
        "chosen": None if net.chosen is None else study_table.describe_setting(net.chosen, net),
        "settings": [_describe_setting(setting, net) for setting in net.settings],
        "test": rows[0] if rows else None,
        "paper": None if paper is None else {"validation": paper.validation, "test": paper.test},
    }


def _describe_setting(setting: Setting, net: NetStudy) -> dict[str, Any]:
    return {
        "setting": study_table.describe_setting(setting, net),
        "is_chosen": setting is net.chosen,
        "validation": None if setting.score is None else describe_score(setting.score),
        "runs": [
            {"run": str(r.folder), "seed": r.seed, "state": r.state or "scored"}
            for r in setting.results
        ],
    }
