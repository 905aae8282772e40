"""The pictures of the pages, drawn and photographed anew: `python -m docs.pictures --help`.

Those of nets are drawn with matplotlib; those of pages are taken by an installed Chromium.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import URLError

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from pipeline.recurrent.initial import RECURRENT_MATRICES
from pipeline.recurrent.spec import NETS
from tests.browsing import drop_file, expect_text, start_launcher

OUT = Path(__file__).resolve().parent / "pictures"
SHOWN = ("np-rnn", "irnn", "o-rnn", "g-rnn")
_HIDDEN, _STEPS, _STATES = 100, 60, 100
_PORT = 8765
_SERVER_SECONDS = 60


def draw_start(name: str) -> torch.Tensor:
    """(H, H) the recurrent matrix that a net starts from, of seed 0."""
    matrix = RECURRENT_MATRICES[NETS[name].recurrent_matrix]
    return matrix(_HIDDEN, torch.Generator().manual_seed(0))


def measure_memory(matrix: torch.Tensor) -> NDArray[np.float32]:
    """(steps + 1, states) the lengths left of drawn states h >= 0 under h = relu(W h)."""
    states = torch.rand(_HIDDEN, _STATES, generator=torch.Generator().manual_seed(1))
    states = states / states.norm(dim=0)
    lengths = [states.norm(dim=0)]
    for _ in range(_STEPS):
        states = torch.relu(matrix @ states)
        lengths.append(states.norm(dim=0))
    return torch.stack(lengths).numpy()


def draw_spectra() -> Figure:
    """The eigenvalues of each start in the complex plane, with the unit circle."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    angles = np.linspace(0, 2 * np.pi, 200)
    for axes, name in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
        values = torch.linalg.eigvals(draw_start(name).double()).numpy()
        axes.plot(np.cos(angles), np.sin(angles), color="0.7", linewidth=1)
        axes.scatter(values.real, values.imag, s=9, color="tab:blue", alpha=0.7)
        axes.set(title=name, aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), xticks=[-1, 0, 1])
        axes.set_yticks([-1, 0, 1])
    return figure


def draw_memory() -> Figure:
    """What is left of a state's length against steps without input, for each start."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name in SHOWN:
        lengths = measure_memory(draw_start(name))
        (line,) = axes.plot(lengths.mean(axis=1), label=name)
        low, high = np.quantile(lengths, [0.05, 0.95], axis=1)
        axes.fill_between(range(len(lengths)), low, high, color=line.get_color(), alpha=0.2)
    axes.set(xlabel="steps without input", ylabel="length left", yscale="log", ylim=(1e-6, 3))
    axes.legend(frameon=False)
    return figure


def save_figure(figure: Figure, name: str) -> None:
    """Write the figure as SVG; equal figures give equal bytes."""
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(OUT / name, metadata={"Date": None})


def save_photograph(content: bytes, name: str) -> None:
    """Write a PNG in 128 colours: a third of its size."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    picture.quantize(128).save(OUT / name, optimize=True)


def photograph_verdicts(launch: Any, page: Path) -> None:
    """The top of a paper's page."""
    browser = launch()
    view = browser.new_page(viewport={"width": 900, "height": 820})
    view.goto(page.resolve().as_uri())
    save_photograph(view.screenshot(), "verdicts.png")
    browser.close()


def photograph_served(launch: Any, run: Path, video: Path) -> None:
    """The served page after a video was dropped on it."""
    words = ["eval", "serve", "--run", str(run), "--port", str(_PORT)]
    server = subprocess.Popen([sys.executable, "-m", *words])
    try:
        address = f"http://127.0.0.1:{_PORT}/"
        _wait_for(address)
        browser = launch()
        view = browser.new_page(viewport={"width": 1000, "height": 620})
        view.goto(address)
        drop_file(view, video)
        expect_text(view, "#said", "was read.")
        view.wait_for_timeout(1000)  # the picture of the video
        save_photograph(view.screenshot(full_page=True), "served.png")
        browser.close()
    finally:
        server.terminate()
        server.wait()


def _wait_for(address: str) -> None:
    for _ in range(_SERVER_SECONDS):
        try:
            urllib.request.urlopen(address).close()
        except URLError:
            time.sleep(1)
        else:
            return
    raise SystemExit(f"{address} did not answer within {_SERVER_SECONDS} s.")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m docs.pictures", description=__doc__)
    parser.add_argument("--paper", type=Path, metavar="HTML", help="what papers --page wrote")
    parser.add_argument("--run", type=Path, metavar="RUN", help="a run of the demo, to be served")
    parser.add_argument("--video", type=Path, metavar="FILE", help="what is dropped on the page")
    options = parser.parse_args()
    save_figure(draw_spectra(), "spectra.svg")
    save_figure(draw_memory(), "memory.svg")
    with start_launcher() as launch:
        if options.paper:
            photograph_verdicts(launch, options.paper)
        if options.run and options.video:
            photograph_served(launch, options.run, options.video)


if __name__ == "__main__":
    main()
