"""A run's dynamics as a page, as text, and as numbers for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from eval.dynamics.dynamics import NUM_JACOBIANS, Dynamics, Moment, draw_portraits
from eval.dynamics.findings import Finding, find_all, summarize
from eval.dynamics.pictures import draw_lines, draw_spectra
from eval.dynamics.pictures import draw_portraits as draw_portrait_picture
from eval.pages.rendering import render_page
from pipeline.files import write_text

PAGE = "dynamics.html"
MACHINE = "dynamics.json"
_CAPTIONS = (
    "Eigenvalues of the recurrent matrix, and the unit circle.",
    "Steps back from a sequence's last; a mean over the sequences, on a logarithmic scale. Dashed: "
    f"the spectral norm of the Jacobian's product, with the slopes of f, over {NUM_JACOBIANS} of "
    "them.",
    "The share of units above zero at each step, a mean over the sequences.",
    "How far the state moves after a small push of the first step's input, over the push's size. "
    "Values below about 1e-13 of the state's own size are rounding.",
    "An open dot is the start of a trajectory, a full one its end; the shaded zone is forbidden by "
    "ReLU. The eigenvalues below and above 1 are ours: the paper's figure is a sketch. These nets "
    "are not the run's.",
)


def write_dynamics(out: Path, dynamics: Dynamics) -> Path:
    """Write dynamics.html and dynamics.json into `out`; the page's path."""
    portraits = draw_portraits()
    findings = find_all(dynamics, portraits)
    pictures = _draw(dynamics, portraits)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / MACHINE, json.dumps(_describe(dynamics, findings), indent=1) + "\n")
    text = render_page(
        "dynamics/dynamics.html",
        title=f"Dynamics of {dynamics.run.config.net.name}",
        dynamics=dynamics,
        summary=summarize(dynamics, findings),
        notes=find_notes(dynamics),
        findings=list(zip(findings, (Markup(svg) for svg in pictures), _CAPTIONS, strict=True)),
    )
    write_text(out / PAGE, text)
    return out / PAGE


def format_dynamics(dynamics: Dynamics) -> str:
    """The findings as text."""
    lines = [
        f"{dynamics.run.folder}: dynamics of {dynamics.run.config.net.name}",
        *find_notes(dynamics),
    ]
    findings = find_all(dynamics, draw_portraits())
    lines.insert(1, summarize(dynamics, findings))
    for finding in findings:
        said = " ".join(filter(None, (finding.seen, finding.verdict)))
        lines += ["", finding.title, f"  {finding.paper}", f"  {said}"]
    return "\n".join(lines)


def find_notes(dynamics: Dynamics) -> list[str]:
    """What was measured on, and why there is no end."""
    shortest, longest = dynamics.lengths
    steps = str(longest) if shortest == longest else f"{shortest} to {longest}"
    notes = [
        f"Measured on {dynamics.num_sequences} sequences of {steps} steps of the validation part, "
        f"without dropout; "
        + (
            "the paper's nets have one layer, so there are no verdicts on this one."
            if dynamics.start.layer
            else "verdicts are on the start of training."
        )
    ]
    if dynamics.without_end:
        notes.append(f"There is no end of training: {dynamics.without_end}.")
    return notes


def _draw(
    dynamics: Dynamics, portraits: Mapping[str, NDArray[np.float64]]
) -> tuple[str, str, str, str, str]:
    """The pictures of each finding, of all layers one below another; "" where there is none."""
    of_layers = [
        _draw_layer(moments, f"-{place}" if place else "")
        for place, moments in enumerate(dynamics.by_layer.values())
    ]
    spectra, gradients, active, sensitivities = map("".join, zip(*of_layers, strict=True))
    pictures = draw_portrait_picture(portraits, "portraits")
    return spectra, gradients, active, sensitivities, pictures


def _draw_layer(moments: Sequence[Moment], ending: str) -> tuple[str, str, str, str]:
    """The pictures of one layer; `ending` tells their names from those of other layers."""
    return (
        draw_spectra(moments, f"spectrum{ending}") if moments[0].eigenvalues is not None else "",
        draw_lines(
            [(f"gradient, {m.title}", m.gradient_norms) for m in moments]
            + [(f"Jacobian, {m.title}", m.jacobian_norms) for m in moments],
            f"gradient{ending}",
            axes_names=("steps back", "norm"),
            log=True,
        ),
        draw_lines(
            [(m.when, m.active_share) for m in moments],
            f"active{ending}",
            axes_names=("step", "share of units on"),
            log=False,
        ),
        draw_lines(
            [(m.when, m.sensitivity) for m in moments],
            f"sensitivity{ending}",
            axes_names=("step", "move over push"),
            log=True,
        ),
    )


def _describe(dynamics: Dynamics, findings: list[Finding]) -> dict[str, Any]:
    return {
        "format": "dynamics 1",
        "run": str(dynamics.run.folder),
        "model": dynamics.run.config.net.name,
        "seed": dynamics.run.config.seed,
        "num_sequences": dynamics.num_sequences,
        "steps": list(dynamics.lengths),
        "without_end": dynamics.without_end,
        "undefined": dict(dynamics.undefined),
        "moments": {moment.title: _describe_moment(moment) for moment in dynamics.moments},
        "findings": [asdict(finding) for finding in findings],
    }


def _describe_moment(moment: Moment) -> dict[str, Any]:
    values = moment.eigenvalues
    return {
        "eigenvalues": None
        if values is None
        else [_write_numbers(values.real), _write_numbers(values.imag)],
        "gradient_norms": _write_numbers(moment.gradient_norms),
        "jacobian_norms": _write_numbers(moment.jacobian_norms),
        "masked_radius": moment.masked_radius,
        "active_share": _write_numbers(moment.active_share),
        "sensitivity": _write_numbers(moment.sensitivity),
    }


def _write_numbers(values: NDArray[np.float64] | None) -> list[float | None] | None:
    """The numbers for JSON, which has none that are not finite: null."""
    if values is None:
        return None
    return [number if math.isfinite(number) else None for number in values.tolist()]
