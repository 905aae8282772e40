"""The report page: whole in itself, well formed, safe, and with the numbers of the table."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eval.pages.text import write_percent
from eval.predictions.predictions import Predictions, write_predictions
from eval.report.curves import read_curves
from eval.report.evaluate import evaluate_predictions, evaluate_runs
from eval.report.overlay import read_learning
from eval.scores.details import best_clips, worst_clips
from eval.scores.rows import describe_run
from pipeline.features import write_videos_place
from pipeline.runs import Session, load_run, write_provenance
from pipeline.tasks import PartUse
from pipeline.video import write_video
from tests.browsing import DESK, PHONE, Seen, is_too_wide
from tests.test_pictures import find_cut_words
from tests.tiny_runs import GROUPS, make_clips, write_log, write_run, write_store

_VOID = {"meta", "img", "br", "link", "input", "hr"}
_ADDRESSES = ("src", "href", "xlink:href", "srcset", "poster", "data", "action")


class PageReader(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def find_addresses(text: str) -> list[str]:
    """What a page would fetch: anything but data URIs and places in the page itself."""
    page = PageReader(text)
    addresses = [a[name] for _, a in page.tags for name in _ADDRESSES if name in a]
    addresses += [a["href"] for a in page.all("link")]
    addresses += re.findall(r"url\(\s*['\"]?([^)'\"]*)", text) + re.findall(r"@import.*", text)
    return [a for a in addresses if not a.startswith(("data:", "#"))]


@pytest.mark.parametrize(
    "text",
    [
        '<img src="https://example.org/a.png">',
        '<link rel="stylesheet" href="style.css">',
        "<style>@import 'a.css';</style>",
        "<style>p { background: url('b.png') }</style>",
        '<script src="x.js"></script>',
        '<svg><image xlink:href="c.png"/></svg>',
    ],
)
def test_the_search_for_addresses_finds_what_a_page_would_fetch(text: str) -> None:
    assert find_addresses(text)


def _evaluate(tmp_path: Path) -> str:
    store = write_store(tmp_path / "features" / "tiny")
    for name in ("a", "b"):
        model = "mean-pool" if name == "a" else "lstm"
        write_run(tmp_path / name, store, model=model)
        write_log(tmp_path / name)
    write_run(tmp_path / "lost", store, model="irnn", has_weights=False)
    runs = [tmp_path / name for name in ("a", "b", "lost")]
    return evaluate_runs(runs, out=tmp_path / "out").page.read_text()


def test_the_page_needs_nothing_beside_it_and_says_what_its_parts_are(tmp_path: Path) -> None:
    text = _evaluate(tmp_path)
    page = PageReader(text)
    assert find_addresses(text) == []
    assert page.all("html")[0]["lang"] == "en"
    assert all("scope" in th for th in page.all("th"))
    assert all(img["alt"] for img in page.all("img"))
    pictures = page.all("svg")
    assert len(pictures) == 2 + 2 * 3  # intervals, losses; for each score two curves and a matrix
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in pictures)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_the_numbers_of_the_report_for_machines(tmp_path: Path) -> None:
    text = _evaluate(tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    first = report["rows"][0]
    for score in first["scores"].values():
        assert f"{score['value']:.3f}" in text
        assert f"[{score['low']:.3f}, {score['high']:.3f}]" in text
    counts = np.array(first["confusions"])
    assert counts.sum() == first["clips"]["num_used"] == 36
    accuracy = np.trace(counts) / counts.sum()
    assert first["scores"]["top-1 accuracy"]["value"] == pytest.approx(accuracy)
    by_class = {c["label"]: c["accuracy"]["value"] for c in first["classes"]}
    assert list(by_class.values()) == pytest.approx(np.diag(counts) / counts.sum(axis=1))
    np.fill_diagonal(counts, 0)
    pair = first["confused"][0]
    place = tuple(first["labels"].index(pair[key]) for key in ("label", "answer"))
    assert pair["num_clips"] == counts[place] == counts.max()


def test_names_are_text_on_the_page_and_never_markup(tmp_path: Path) -> None:
    labels = ("<script>alert(1)</script>", "a & b", "$x^2$", "d", "e", "f")
    ids = tuple(f"<img src=x> {i}" for i in range(6))
    outputs = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    predictions = Predictions(labels, outputs, np.arange(6), ids, PartUse(6, ids))
    write_predictions(tmp_path / "p.csv", predictions)
    text = evaluate_predictions([tmp_path / "p.csv"], "test", out=tmp_path).page.read_text()
    page = PageReader(text)
    assert not page.all("script")
    assert not page.all("img")
    assert "&lt;script&gt;" in text
    assert ">$x^2$</text>" in text  # not set as mathematics


def _write_videos(videos: Path) -> None:
    """A video of rising grey for each tested clip but the last; that of the first is none."""
    tested = [clip for clip in make_clips() if clip.group in GROUPS["test"]]
    for clip in tested[:-1]:
        path = videos / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if clip is tested[0]:
            path.write_text("no video")
            continue
        grey = [np.full((48, 64, 3), level, np.uint8) for level in range(20, 220, 10)]
        write_video(path, grey)


def _read_strip(image: dict[str, str]) -> NDArray[np.uint8]:
    encoded = image["src"].removeprefix("data:image/jpeg;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def test_clips_are_shown_with_frames_from_the_videos_that_the_store_knows(tmp_path: Path) -> None:
    _write_videos(tmp_path / "videos")
    store = write_store(tmp_path / "features" / "tiny")
    write_videos_place(store, tmp_path / "videos")
    write_run(tmp_path / "run", store)
    page = PageReader(evaluate_runs([tmp_path / "run"]).page.read_text())
    images = page.all("img")
    assert images
    strip = _read_strip(images[0]).astype(int)
    assert strip.shape == (90, 5 * 120, 3)
    # Frames 0, 4, 8, 12, 16 of 20; MPEG-4 and JPEG at these qualities keep flat grey within 6.
    np.testing.assert_allclose(strip[45, 60::120, 0], [20, 60, 100, 140, 180], atol=6)


def test_videos_that_are_not_there_are_said_and_given_ones_are_taken(tmp_path: Path) -> None:
    store = write_store(tmp_path / "features" / "tiny")
    write_run(tmp_path / "run", store)
    assert "Pass --videos to see" in evaluate_runs([tmp_path / "run"]).page.read_text()
    write_videos_place(store, tmp_path / "videos")
    text = evaluate_runs([tmp_path / "run"]).page.read_text()
    assert f"Their videos were below {tmp_path / 'videos'}, which is not there." in text
    assert not PageReader(text).all("img")
    videos = tmp_path / "moved"
    for clip in make_clips():
        if clip.group in GROUPS["test"]:
            path = videos / clip.label / f"{clip.id}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, [np.full((48, 64, 3), 90, np.uint8)] * 5)
    text = evaluate_runs([tmp_path / "run"], videos=videos).page.read_text()
    assert PageReader(text).all("img")


def test_the_first_lines_say_what_the_report_is_about(tmp_path: Path) -> None:
    text = _evaluate(tmp_path)
    about = text[text.index("<h1>") : text.index("<table")]
    for said in (
        "clips of tiny, 6 classes", "tiny, test part", "rmsprop, learning rate 0.001, dropout 0.5",
        "at most 2 + 1 epochs, best kept", f"{datetime.now(UTC):%Y-}",
    ):  # fmt: skip
        assert said in about, said
    run = load_run(tmp_path / "a")
    versions = {"np-rnn": "7.1"}
    session = Session(0, "cpu", {}, versions, "x", "0123456789abcdef+changes")
    write_provenance(run.folder, replace(run.provenance, sessions=(session,)))
    text = evaluate_runs([tmp_path / "a"]).page.read_text()
    assert "np-rnn 7.1, commit 0123456789ab, with changes" in text


def test_the_comparison_leads_best_first_and_details_are_folded(tmp_path: Path) -> None:
    text = _evaluate(tmp_path)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    values = [row["scores"]["top-1 accuracy"]["value"] for row in report["rows"][:2]]
    names = [row["name"] for row in report["rows"]]
    order = np.argsort(-np.array(values), kind="stable")
    expected = [*(names[place] for place in order), names[2]]  # the one without a score is last
    assert re.findall(r'<a href="#row-\d">([^<]*)</a>', text) == expected
    assert text.index("</table>") < text.index('id="intervals-') < text.index('id="learning-')
    assert text.index('id="learning-') < text.index("<section")
    assert not any("open" in details for details in PageReader(text).all("details"))


def test_frames_of_right_and_wrong_clips_are_open_in_a_comparison(tmp_path: Path) -> None:
    _write_videos(tmp_path / "videos")
    store = write_store(tmp_path / "features" / "tiny")
    write_videos_place(store, tmp_path / "videos")
    for name, bend in (("a", 1), ("b", 2)):
        write_run(tmp_path / name, store, bend=bend, seed=bend)
    text = evaluate_runs([tmp_path / "a", tmp_path / "b"], out=tmp_path / "out").page.read_text()
    folded = re.findall(r"<details.*?</details>", text, flags=re.DOTALL)
    assert folded
    assert not any("<img" in block for block in folded)
    assert len(PageReader(text).all("img")) > 4
    assert "clips answered wrongly</h3>" in text
    assert "clips answered rightly</h3>" in text


def test_few_classes_raise_no_alarm(tmp_path: Path) -> None:
    ids = ("a", "b")
    predictions = Predictions(
        ("x", "y"), np.eye(2, dtype=np.float32), np.arange(2), ids, PartUse(2, ids)
    )
    write_predictions(tmp_path / "p.csv", predictions)
    text = evaluate_predictions([tmp_path / "p.csv"], "test", out=tmp_path).page.read_text()
    assert 'class="notes"' not in text


def test_the_kept_epoch_is_the_first_of_least_loss_and_coolings_end_phases(tmp_path: Path) -> None:
    store = write_store(tmp_path / "features" / "tiny")
    write_run(tmp_path / "run", store)  # phases of 2 and 1 epochs
    (tmp_path / "run" / "metrics.csv").write_text(
        "epoch,step,val_loss\n0,1,2.0\n1,2,0.5\n2,3,0.5\n"
    )
    run = load_run(tmp_path / "run")
    learning = read_learning(describe_run(run, None))
    assert learning is not None
    assert learning.kept == (1.0, 0.5)
    assert learning.coolings == (2,)
    keeps_last = replace(run.config, batch=replace(run.config.batch, keep="last"))
    learning = read_learning(describe_run(replace(run, config=keeps_last), None))
    assert learning is not None
    assert learning.kept == (2.0, 0.5)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_of_the_report_is_cut(
    tmp_path: Path, open_page: Callable[..., Seen], size: dict[str, int]
) -> None:
    _evaluate(tmp_path)
    seen = open_page((tmp_path / "out" / "report.html").as_uri(), size=size)
    assert find_cut_words(seen) == []
    assert not is_too_wide(seen.page)
    inner, outer = seen.page.locator(".wide").first.evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert inner <= outer  # the comparison
    assert seen.problems == []


def test_a_regression_gets_its_own_scores_and_floors(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    targets = generator.random((200, 1)).astype(np.float32)
    errors = np.where(np.arange(200) < 50, 0.01, 0.1).astype(np.float32)[:, None]
    ids = tuple(map(str, range(200)))
    predictions = Predictions((), targets + errors, targets, ids, PartUse(200, ids))
    write_predictions(tmp_path / "p.csv", predictions)
    evaluation = evaluate_predictions([tmp_path / "p.csv"], "test", out=tmp_path)
    share, mse = evaluation.rows[0].scores
    assert (share.name, share.estimate.value) == ("share with error < 0.04", 0.25)
    constants = np.arange(0, 1, 1e-4)
    tried = (np.abs(targets - constants) < 0.04).mean(axis=0)  # (200, 10000) -> (10000,)
    assert share.floor == pytest.approx(tried.max())
    assert mse.estimate.value == pytest.approx(0.25 * 0.01**2 + 0.75 * 0.1**2, rel=1e-4)
    assert mse.floor == pytest.approx(targets.var())
    text = evaluation.page.read_text()
    assert "mean squared error" in text
    assert "Confusion" not in text
    assert find_addresses(text) == []


def test_curves_are_means_over_an_epoch_and_pass_over_blank_cells_and_nan(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}
    write_log(tmp_path)
    assert read_curves(tmp_path) == {
        "train_loss": ((0.0, 1.5), (1.0, 0.5)),
        "val_loss": ((0.0, 1.5),),
        "val_accuracy": ((0.0, 0.25), (1.0, 0.5)),
    }


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0 %"), (1e-9, "under 1 %"), (0.07, "7 %"), (0.997, "over 99 %"), (1.0, "100 %")],
)
def test_a_percentage_has_no_exponent_and_rounds_to_all_or_none_only_if_it_is(
    share: float, words: str
) -> None:
    assert write_percent(share) == words


def test_a_sure_right_answer_is_never_among_those_answered_wrongly(tmp_path: Path) -> None:
    outputs = np.array([[9, 0], [0, 8], [9, 0], [0.1, 0]], dtype=np.float32)
    ids = ("right", "right too", "surely wrong", "hardly wrong")
    predictions = Predictions(("a", "b"), outputs, np.array([0, 1, 1, 1]), ids, PartUse(4, ids))
    assert [clip.id for clip in worst_clips([predictions])] == ["surely wrong", "hardly wrong"]
    assert [clip.id for clip in best_clips([predictions])] == ["right", "right too"]
    write_predictions(tmp_path / "p.csv", predictions)
    text = evaluate_predictions([tmp_path / "p.csv"], "test", out=tmp_path).page.read_text()
    assert "2 clips answered wrongly" in text
    assert "under 1 % for its class" in text
