"""The dynamics of a run: the numbers of eval.dynamics.measures, and honest sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from eval.__main__ import main
from eval.dynamics import measures as dyn
from eval.dynamics.dynamics import Moment, compute_dynamics, draw_portraits
from eval.dynamics.findings import choose_case, find_all, judge, measure
from eval.dynamics.page import format_dynamics, write_dynamics
from eval.dynamics.pictures import draw_spectra
from eval.predictions.predict import PartReader
from papers.np_rnn.dynamics import DYNAMICS
from pipeline.recurrent.classifier import build_net
from pipeline.recurrent.spec import NETS
from pipeline.runs import load_run
from pipeline.tasks import make_task
from tests.browsing import DESK, PHONE, Seen, is_too_wide
from tests.test_pictures import find_cut_words
from tests.test_report import PageReader, find_addresses
from tests.tiny_runs import toy_section, write_run, write_store, write_toy_run

OTHERS = [name for name, kind in NETS.items() if kind.cell != "simple"]
SECTION = toy_section("addition", length=30)


def _load(tmp_path: Path, name: str) -> dict[str, object]:
    report = json.loads((tmp_path / "run" / "eval" / "dynamics" / "dynamics.json").read_text())
    found: dict[str, object] = report["moments"][name]
    return found


def test_the_numbers_are_those_of_the_nets_at_the_start_and_at_the_end(tmp_path: Path) -> None:
    end = write_toy_run(tmp_path / "run", SECTION, seed=3, scale=1.1)
    assert main(["dynamics", "--run", str(tmp_path / "run")]) == 0
    start = build_net(load_run(tmp_path / "run").config.net, seed=3)
    # 32 of the 40 validation sequences, evenly spaced, each of 30 steps.
    places = np.linspace(0, 39, 32).round().astype(int).tolist()
    batch = make_task(SECTION).sequences("val")[places]
    x, lengths = batch.features, batch.lengths
    for name, net in (("start", start), ("end", end)):
        found = _load(tmp_path, name)
        assert net.recurrent is not None
        values = np.linalg.eigvals(net.recurrent.get_parameter("weight_hh_l0").detach().double())
        assert isinstance(found["eigenvalues"], list)
        assert max(found["eigenvalues"][0]) == pytest.approx(values.real.max())
        norms = dyn.gradient_norms(net, x, lengths=lengths, steps_back=29)
        assert found["gradient_norms"] == pytest.approx(norms.tolist())
        some = np.linspace(0, 31, 8).round().astype(int).tolist()
        norms = dyn.jacobian_norms(net, x[some], lengths=lengths[some], steps_back=29)
        assert found["jacobian_norms"] == pytest.approx(norms.tolist())
        share = dyn.active_share(net, x, lengths=lengths)
        assert found["active_share"] == pytest.approx(share.tolist())
        moved = dyn.sensitivity(net, x, lengths=lengths)
        assert found["sensitivity"] == pytest.approx(moved.tolist())
    assert _load(tmp_path, "start") != _load(tmp_path, "end")


def test_a_line_of_findings_leads_and_pictures_come_before_sentences(tmp_path: Path) -> None:
    write_toy_run(tmp_path / "run", SECTION, seed=3, scale=1.1)
    dynamics = compute_dynamics(load_run(tmp_path / "run"))
    text = write_dynamics(tmp_path / "out", dynamics).read_text()
    start, end = (float(abs(moment.eigenvalues).max()) for moment in dynamics.moments
                  if moment.eigenvalues is not None)  # fmt: skip
    assert end == pytest.approx(1.1 * start)
    assert f"largest |λ| {start:.3g} → {end:.3g}" in text[: text.index("<svg")]
    assert "Against the paper: " in text[: text.index("<svg")]
    assert text.rindex("<svg") < text.index("<b>Seen:</b>")
    lines = format_dynamics(dynamics).splitlines()
    assert lines[1].startswith("From the start of training to its end: largest |λ|")


def test_the_spectra_of_start_and_end_share_their_axes(tmp_path: Path) -> None:
    values = np.array([1.0 + 0j, 0.5 + 0j])
    moments = [Moment(name, (scale * values).astype(np.complex128), None, None, None, None, None)
               for name, scale in (("start", 1.0), ("end", 4.0))]  # fmt: skip
    svg = draw_spectra(moments, "spectrum")
    # The unit circles are of one size: the same scale in both panels.
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    groups = [g for g in root.iter() if g.tag.endswith("}g") or g.tag == "g"]
    circles = [
        next(iter(g)).attrib["d"] for g in groups
        if g.attrib.get("id", "").startswith("spectrum-patch") and " C " in "".join(
            child.attrib.get("d", "") for child in g).replace("\nC", " C")
    ]  # fmt: skip
    number = r"(-?[\d.]+)"
    heights = [np.ptp([float(y) for _, y in re.findall(f"{number} {number}", d)]) for d in circles]
    assert len(heights) == 2
    assert heights[0] > 10
    assert heights[0] == pytest.approx(heights[1])


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_of_the_dynamics_is_cut(
    tmp_path: Path, open_page: Callable[..., Seen], size: dict[str, int]
) -> None:
    write_toy_run(tmp_path / "run", SECTION, seed=3)
    page = write_dynamics(tmp_path / "out", compute_dynamics(load_run(tmp_path / "run")))
    seen = open_page(page.as_uri(), size=size)
    assert seen.page.locator("figure svg").count() == 5
    assert find_cut_words(seen) == []
    assert not is_too_wide(seen.page)


@pytest.mark.parametrize("model", [*OTHERS, "np-rnn", "np-tanh-rnn", "ind-rnn", "orthogonal-rnn"])
def test_every_net_has_a_page_that_says_what_is_not_defined_for_it(
    tmp_path: Path, model: str
) -> None:
    write_toy_run(tmp_path / "run", SECTION, model=model)
    dynamics = compute_dynamics(load_run(tmp_path / "run"))
    text = write_dynamics(tmp_path / "out", dynamics).read_text()
    page = PageReader(text)
    assert find_addresses(text) == []
    pictures = page.all("svg")
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    num_pictures = {"np-tanh-rnn": 4, "mean-pool": 1}.get(model, 3 if model in OTHERS else 5)
    assert len(pictures) == num_pictures
    said = format_dynamics(dynamics)
    num_undefined = {"np-tanh-rnn": 1, "mean-pool": 4}.get(model, 3 if model in OTHERS else 0)
    assert said.count("Not defined") == num_undefined
    assert "The paper says" in said


def test_a_claim_that_the_numbers_contradict_is_said_to_be_contradicted(tmp_path: Path) -> None:
    section = toy_section("addition", length=120)
    verdicts = {}
    for model in ("np-rnn", "irnn", "n-rnn", "rnn"):
        write_toy_run(tmp_path / model, section, model=model, hidden_size=40, has_weights=False)
        dynamics = compute_dynamics(load_run(tmp_path / model))
        findings = {finding.title: finding for finding in find_all(dynamics, draw_portraits())}
        assert all(finding.seen for finding in findings.values())
        verdicts[model] = findings["Back-propagated gradient"].agrees
        assert findings["Spectrum of the recurrent matrix"].agrees is not False
        norms = dynamics.start.gradient_norms
        assert norms is not None
        assert ("CONTRADICTS THE PAPER" in format_dynamics(dynamics)) == (model == "np-rnn")
        assert f"100 steps back is {norms[100]:.3g} of" in findings["Back-propagated gradient"].seen
    # As measured in tests/test_dynamics.py: the np-RNN's gradient vanishes, the IRNN's does not.
    assert verdicts == {"np-rnn": False, "irnn": True, "n-rnn": True, "rnn": None}


def test_masking_the_units_that_are_off_is_said_to_lower_the_spectral_radius(
    tmp_path: Path,
) -> None:
    write_toy_run(tmp_path / "run", SECTION, hidden_size=100, has_weights=False)
    dynamics = compute_dynamics(load_run(tmp_path / "run"))
    radius = dynamics.start.masked_radius
    assert radius is not None
    # λmax of a random half of A / λmax(A): (1 + √½)²/4, about 0.73, for an active share of 0.5.
    assert radius == pytest.approx(0.75, abs=0.08)
    assert (
        f"has the spectral radius {radius:.3g}, where the whole matrix has 1."
        in format_dynamics(dynamics)
    )


def test_a_run_that_diverged_has_its_start_alone(tmp_path: Path) -> None:
    write_toy_run(tmp_path / "run", SECTION, has_weights=False)
    (tmp_path / "run" / "diverged.txt").write_text("Training diverged at step 7.\nTry.\n")
    dynamics = compute_dynamics(load_run(tmp_path / "run"))
    assert [moment.name for moment in dynamics.moments] == ["start"]
    assert "There is no end of training: diverged at step 7." in format_dynamics(dynamics)
    assert "diverged at step 7" in write_dynamics(tmp_path / "out", dynamics).read_text()


def test_weights_that_are_nan_have_no_end(tmp_path: Path) -> None:
    net = write_toy_run(tmp_path / "run", SECTION)
    weights = {k: torch.full_like(v, torch.nan) for k, v in net.state_dict().items()}
    save_file(weights, tmp_path / "run" / "weights.safetensors")
    dynamics = compute_dynamics(load_run(tmp_path / "run"))
    assert "its weights are NaN or infinite" in format_dynamics(dynamics)


def test_a_state_that_overflows_is_reported_and_drawn(tmp_path: Path) -> None:
    section = toy_section("addition", length=150)
    write_toy_run(tmp_path / "run", section, model="irnn", scale=1e3)
    dynamics = compute_dynamics(load_run(tmp_path / "run"))
    write_dynamics(tmp_path / "out", dynamics)
    assert "not finite" in format_dynamics(dynamics)
    text = (tmp_path / "out" / "dynamics.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text


def test_clips_of_unlike_lengths_are_looked_back_in_as_far_as_half_of_them_reach(
    tmp_path: Path,
) -> None:
    store = write_store(tmp_path / "features")
    write_run(tmp_path / "run", store, model="np-rnn")
    run = load_run(tmp_path / "run")
    lengths = PartReader("val").read(run)[1].lengths
    dynamics = compute_dynamics(run)
    norms = dynamics.start.gradient_norms
    assert norms is not None
    assert dynamics.lengths == (int(lengths.min()), int(lengths.max()))
    assert int((lengths > len(norms) - 1).sum()) >= len(lengths) / 2
    assert np.isfinite(norms).all()


@pytest.mark.parametrize(
    ("first", "second", "case"),
    [
        (1.0, 1.0, "neutral fixed points"),
        (1.0, 0.96, "line attractor"),
        (0.9, 0.9, "stable origin"),
        (1.05, 1.0, "divergence"),
    ],
)
def test_a_matrix_is_placed_among_the_papers_four_cases(
    first: float, second: float, case: str
) -> None:
    assert choose_case(first, second) == case


def test_the_portraits_are_trajectories_of_the_papers_cases(tmp_path: Path) -> None:
    portraits = draw_portraits()
    assert list(portraits) == list(dyn.PHASE_CASES)
    for case, path in portraits.items():
        matrix = np.diag(dyn.PHASE_CASES[case])
        np.testing.assert_allclose(path[1:], np.maximum(path[:-1] @ matrix, 0), atol=1e-12)
    write_toy_run(tmp_path / "run", SECTION)
    finding = find_all(compute_dynamics(load_run(tmp_path / "run")), portraits)[-1]
    assert finding.agrees
    assert f"divergence, {1.2**40:.3g}" not in finding.seen  # its second eigenvalue shrinks


def test_a_moment_without_numbers_has_no_verdict() -> None:
    empty = Moment("start", None, None, None, None, None, None)
    for aspect, claims in DYNAMICS.items():
        assert all(judge(claim, measure(empty, aspect)) is None for claim in claims.values())


def test_a_logarithmic_axis_is_labelled_in_plain_text(tmp_path: Path) -> None:
    write_toy_run(tmp_path / "run", toy_section("addition", length=60), hidden_size=30)
    write_dynamics(tmp_path / "out", compute_dynamics(load_run(tmp_path / "run")))
    text = (tmp_path / "out" / "dynamics.html").read_text()
    assert "mathdefault" not in text
    assert ">1e-03</text>" in text or ">1e-04</text>" in text
